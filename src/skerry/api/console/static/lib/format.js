/** Numbers, times and names as people read them. */

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const DATE_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const INTEGER = new Intl.NumberFormat();
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];

export const integer = (value) => INTEGER.format(value);
export const percent = (share, digits = 0) => `${(share * 100).toFixed(digits)}%`;
export const date = (seconds) => DATE.format(seconds * 1000);
export const dateTime = (seconds) => DATE_TIME.format(seconds * 1000);

/** "3 minutes ago", from Unix seconds. */
export function ago(seconds, nowMs = Date.now()) {
  const passed = nowMs / 1000 - seconds;
  for (const [unit, size] of UNITS) {
    if (passed >= size) return RELATIVE.format(-Math.floor(passed / size), unit);
  }
  return "just now";
}

/** Probability or similarity: a certain 100% is only said when it is exactly that. */
export function share(value) {
  if (value >= 0.99995) return "100%";
  if (value > 0 && value < 0.001) return "<0.1%";
  return `${Math.min(value * 100, 99.9).toFixed(1)}%`;
}

/** Something a second: one decimal where it says something. */
export const rate = (value) => (value == null ? "–" : value.toFixed(value >= 100 ? 0 : 1));

export function milliseconds(value) {
  if (value == null) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  if (value >= 100) return `${value.toFixed(0)} ms`;
  return value >= 10 ? `${value.toFixed(1)} ms` : `${value.toFixed(2)} ms`;
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** The first of a label's synonyms, and the rest: "tabby, tabby cat" → ["tabby", "tabby cat"]. */
export function labelParts(label) {
  const [first, ...rest] = label.split(", ");
  return [first, rest.join(", ")];
}

export const plural = (count, one, many = `${one}s`) => `${integer(count)} ${count === 1 ? one : many}`;
