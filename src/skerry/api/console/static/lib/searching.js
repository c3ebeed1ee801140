/** A search over the documents that follows what is typed; an older answer is dropped. */

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";
import { chosenOf, filterOf } from "./narrowing.js";

const PAGE = 10;
const REACH = 1000; // As far down as the node pages.
const IDLE = { phase: "idle", results: [], facets: {}, asked: "", more: false, tookMs: null, error: null };
const FACETS = ["category", "metadata"];

/**
 * What the page's `query` asks for: `{phase, results, facets, more, tookMs, error}`; phase is idle,
 * loading, more, ready or failed.
 */
export function useSearch(query) {
  const { q = "", mode = "hybrid", group = "", since = "", until = "" } = query;
  const filter = JSON.stringify(filterOf(query));
  const [state, setState] = useState(IDLE);
  const running = useRef(null);

  const load = useCallback(async (offset) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setState((now) => ({ ...now, phase: offset ? "more" : "loading", error: null }));
    try {
      const { data } = await api.search({
        query: q, mode, filter: filter && JSON.parse(filter), facets: FACETS, group: Boolean(group), limit: PAGE, offset,
      }, abort.signal);
      setState((now) => found(now, data, { offset, chosen: Object.keys(chosenOf(query)), asked: [mode, q, since, until].join(" ") }));
    } catch (error) {
      if (!abort.signal.aborted) setState((now) => ({ ...now, phase: "failed", error }));
    }
  }, [q, mode, filter, group]);

  useEffect(() => {
    if (q) load(0);
    else setState(IDLE);
    return () => running.current?.abort();
  }, [load]);

  return { ...state, reload: () => load(0), loadMore: () => load(state.results.length) };
}

function found(now, { results, facets, total_time_ms: tookMs }, { offset, chosen, asked }) {
  const all = offset ? [...now.results, ...results] : results;
  // Under a filter the node counts only what passes it; the other choices of that field stay in sight.
  const before = chosen.filter((field) => now.asked === asked && Object.hasOwn(now.facets, field));
  const kept = { ...facets, ...Object.fromEntries(before.map((field) => [field, now.facets[field]])) };
  return {
    phase: "ready", results: all, facets: kept, asked, tookMs, error: null,
    more: results.length === PAGE && all.length + PAGE <= REACH,
  };
}
