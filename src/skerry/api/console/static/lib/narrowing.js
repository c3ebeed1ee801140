/** What narrows a search: a category, metadata and dates, as they stand in the page's address. */

const METADATA = "metadata.";
const NUMBER = /^-?(0|[1-9]\d{0,14})(\.\d+)?$/;

/** The fields that are narrowed to one value, `category` or `metadata.NAME`, and the values. */
export function chosenOf(query) {
  return Object.fromEntries(Object.entries(query).filter(([name, value]) => value && isFacet(name)));
}

export const isFacet = (name) => name === "category" || name.startsWith(METADATA);

/** How a facet's field is called on the page. */
export const facetName = (field) => (field === "category" ? "Category" : field.slice(METADATA.length));

/** Whether anything but the category narrows the search. */
export const isNarrowed = (query) => Boolean(query.since || query.until || Object.keys(chosenOf(query)).some((name) => name !== "category"));

/** The change of address that takes all of it away. */
export const everything = (query) => ({ since: "", until: "", ...Object.fromEntries(Object.keys(chosenOf(query)).map((name) => [name, ""])) });

/** Qdrant's filter JSON, or undefined when nothing is narrowed. */
export function filterOf(query) {
  const must = Object.entries(chosenOf(query)).map(([key, value]) => (key === "category" ? { key, match: { value } } : spelled(key, value)));
  const range = { gte: startOf(query.since), lt: startOf(query.until, 1) };
  if (range.gte != null || range.lt != null) must.push({ key: "timestamp", range });
  return must.length ? { must } : undefined;
}

/** Facets are told as text: what is equal to it, and the number or truth value that it spells. */
function spelled(key, text) {
  const should = [{ key, match: { value: text } }];
  if (text === "true" || text === "false") should.push({ key, match: { value: text === "true" } });
  if (NUMBER.test(text)) should.push({ key, range: { gte: Number(text), lte: Number(text) } });
  return { should };
}

/** The Unix seconds at which the day begins here, `after` days later; undefined for no date. */
function startOf(day, after = 0) {
  const start = new Date(`${day}T00:00`);
  start.setDate(start.getDate() + after);
  return Number.isNaN(start.getTime()) ? undefined : Math.floor(start.getTime() / 1000);
}
