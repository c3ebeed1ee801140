/** A list of the node, page by page. */

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";

const EMPTY = { phase: "loading", items: [], next: null, total: null, error: null };

/**
 * `{phase, items, next, total, error}` and the moves on it; phase is loading, ready, more or failed.
 * `fetchPage(cursor, signal)` resolves to `{items, next, total}`; another `key` begins anew.
 */
export function usePages(key, fetchPage) {
  const [state, setState] = useState(EMPTY);
  const running = useRef(null);

  const load = useCallback(async (cursor) => {
    if (!cursor) running.current?.abort();
    else if (running.current) return;
    const abort = new AbortController();
    running.current = abort;
    setState((now) => ({ ...now, phase: cursor ? "more" : "loading", error: null }));
    try {
      const page = await fetchPage(cursor, abort.signal);
      setState((now) => ({ ...merged(now, page, cursor), phase: "ready", error: null }));
    } catch (error) {
      if (abort.signal.aborted) return;
      setState((now) => ({ ...now, phase: "failed", error }));
    } finally {
      if (running.current === abort) running.current = null;
    }
  }, [key]);

  useEffect(() => {
    load(null);
    return () => running.current?.abort();
  }, [load]);

  const replace = useCallback((item) => setState((now) => ({
    ...now,
    items: now.items.map((other) => (other.id === item.id ? { ...other, ...item } : other)),
  })), []);

  const remove = useCallback((ids) => setState((now) => {
    const items = now.items.filter(({ id }) => !ids.has(id));
    const gone = now.items.length - items.length;
    return { ...now, items, total: now.total == null ? null : now.total - gone };
  }), []);

  return { ...state, reload: () => load(null), loadMore: () => load(state.next), replace, remove };
}

function merged(now, { items, next, total }, cursor) {
  const known = new Set(cursor ? now.items.map(({ id }) => id) : []);
  return { items: cursor ? [...now.items, ...items.filter(({ id }) => !known.has(id))] : items, next, total: total ?? null };
}
