/** A page by page view of the stored images under some filters. */

import { api } from "../api.js";
import { usePages } from "./pages.js";

const PAGE = 48;
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

/** The images under the filters; what `usePages` gives, its items as `images`. */
export function useCollection(filters) {
  const key = JSON.stringify(FILTERS.map((name) => filters[name] ?? ""));
  const { items, ...pages } = usePages(key, async (cursor, signal) => {
    const { data } = await api.images({ ...listQuery(filters), limit: PAGE, cursor }, signal);
    return { ...data, items: data.images };
  });
  return { ...pages, images: items };
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
