/** A page by page view of the stored images under some filters. */

import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";

const PAGE = 48;
const EMPTY = { phase: "loading", images: [], next: null, total: null, error: null };
const DAY_S = 86400;

/** The filters' names in the page's address. */
export const FILTERS = ["label", "uploaded_by", "tag", "from", "to"];

/** Query parameters of `GET /api/images` for the filters as the page's address has them. */
export function listQuery(filters) {
  const query = {
    label: filters.label,
    uploaded_by: filters.uploaded_by,
    created_after: filters.from && startOfDay(filters.from),
    created_before: filters.to && startOfDay(filters.to) + DAY_S,
  };
  const [name, ...value] = (filters.tag ?? "").split("=");
  if (name && value.length) query[`tag.${name.trim()}`] = value.join("=").trim();
  return query;
}

/** Local midnight of a date field ("2026-11-24") in Unix seconds. */
const startOfDay = (text) => Math.floor(new Date(`${text}T00:00`).getTime() / 1000);

/** `{phase, images, next, total, error}` and the moves on it; phase is loading, ready, more or failed. */
export function useCollection(filters) {
  const [state, setState] = useState(EMPTY);
  const running = useRef(null);
  const key = JSON.stringify(FILTERS.map((name) => filters[name] ?? ""));

  const load = useCallback(async (cursor) => {
    if (!cursor) running.current?.abort();
    else if (running.current) return;
    const abort = new AbortController();
    running.current = abort;
    setState((now) => ({ ...now, phase: cursor ? "more" : "loading", error: null }));
    try {
      const { data } = await api.images({ ...listQuery(filters), limit: PAGE, cursor }, abort.signal);
      setState((now) => ({ ...merged(now, data, cursor), phase: "ready", error: null }));
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

  const replace = useCallback((image) => setState((now) => ({
    ...now,
    images: now.images.map((other) => (other.id === image.id ? { ...other, ...image } : other)),
  })), []);

  const remove = useCallback((ids) => setState((now) => {
    const images = now.images.filter(({ id }) => !ids.has(id));
    const gone = now.images.length - images.length;
    return { ...now, images, total: now.total == null ? null : now.total - gone };
  }), []);

  return { ...state, reload: () => load(null), loadMore: () => load(state.next), replace, remove };
}

function merged(now, data, cursor) {
  const known = new Set(cursor ? now.images.map(({ id }) => id) : []);
  const images = cursor ? [...now.images, ...data.images.filter(({ id }) => !known.has(id))] : data.images;
  return { images, next: data.next, total: data.total ?? null };
}

/** Do `work` for each item, a few at once; resolves to the failures as `[item, error]`. */
export async function forEach(items, work, { parallel = 4 } = {}) {
  const waiting = [...items];
  const failures = [];
  const lane = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await work(item);
      } catch (error) {
        failures.push([item, error]);
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return failures;
}
