/** A search over the documents that follows what is typed; an older answer is dropped. */

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";

const PAGE = 10;
const REACH = 1000; // As far down as the node pages.
const IDLE = { phase: "idle", results: [], facets: {}, asked: "", more: false, tookMs: null, error: null };

/** `{phase, results, facets, more, tookMs, error}`; phase is idle, loading, more, ready or failed. */
export function useSearch({ q = "", mode = "hybrid", category = "", group = "" }) {
  const [state, setState] = useState(IDLE);
  const running = useRef(null);

  const load = useCallback(async (offset) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setState((now) => ({ ...now, phase: offset ? "more" : "loading", error: null }));
    try {
      const { data } = await api.search({
        query: q, mode, category: category || undefined, group: Boolean(group), limit: PAGE, offset,
      }, abort.signal);
      setState((now) => found(now, data, { offset, category, asked: `${mode} ${q}` }));
    } catch (error) {
      if (!abort.signal.aborted) setState((now) => ({ ...now, phase: "failed", error }));
    }
  }, [q, mode, category, group]);

  useEffect(() => {
    if (q) load(0);
    else setState(IDLE);
    return () => running.current?.abort();
  }, [load]);

  return { ...state, reload: () => load(0), loadMore: () => load(state.results.length) };
}

function found(now, { results, facets, total_time_ms: tookMs }, { offset, category, asked }) {
  const all = offset ? [...now.results, ...results] : results;
  // Under a filter the node counts only what passes it; the other choices stay in sight.
  const kept = category && now.asked === asked ? now.facets : facets.category ?? {};
  return {
    phase: "ready", results: all, facets: kept, asked, tookMs, error: null,
    more: results.length === PAGE && all.length + PAGE <= REACH,
  };
}
