/** Places in texts: the node counts characters (code points), the browser UTF-16 units. */

const WIDE = /[\ud800-\udbff]/;
const LEAD = 140;
const KEPT_LEAD = 90;

/** The browser's offsets of the node's `points` in `text`, in their order. */
export function unitsOf(text, points) {
  if (!WIDE.test(text)) return points.map((point) => Math.min(point, text.length));
  const found = [];
  let [unit, at] = [0, 0];
  for (const [point, place] of points.map((point, place) => [point, place]).sort((a, b) => a[0] - b[0])) {
    for (; at < point && unit < text.length; at += 1) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
    found[place] = unit;
  }
  return found;
}

/** The text in pieces `{text, marked}`: those that `places`, [start, end) as the node counts, mark. */
export function piecesOf(text, places) {
  const units = unitsOf(text, places.flat());
  const ranges = places.map((_, place) => [units[place * 2], units[place * 2 + 1]]).sort((a, b) => a[0] - b[0]);
  const pieces = [];
  let at = 0;
  const add = (end, marked) => {
    if (end > at) pieces.push({ text: text.slice(at, end), marked });
    at = Math.max(at, end);
  };
  for (const [start, end] of ranges) {
    add(start, false);
    add(end, true);
  }
  add(text.length, false);
  return pieces;
}

/** The same, with a long beginning cut so that the first mark is in sight. */
export function excerptOf(text, places) {
  const [first, ...rest] = piecesOf(text, places);
  if (!first || first.marked || !rest.length || first.text.length <= LEAD) return first ? [first, ...rest] : [];
  const kept = first.text.slice(-KEPT_LEAD).replace(/^\S*\s/, "");
  return [{ text: `… ${kept}`, marked: false }, ...rest];
}
