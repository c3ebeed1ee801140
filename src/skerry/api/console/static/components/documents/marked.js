/** Text with marked places; it is never read as HTML. */

import { html } from "../../vendor/htm-preact.js";

/** `pieces` as `piecesOf` gives them. */
export function Marked({ pieces }) {
  return pieces.map(({ text, marked }) => (marked ? html`<mark>${text}</mark>` : text));
}

/** Where a passage stands: its heading and page, or nothing. */
export function placeOf({ heading, page }) {
  return [heading, page && `page ${page}`].filter(Boolean).join(", ");
}

export const titleOf = ({ title, id }) => title || id;
