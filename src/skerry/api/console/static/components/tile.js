/** One image of the collection's grid: opens its details, or joins the selection. */

import { html } from "../vendor/htm-preact.js";
import { imageUrl } from "../api.js";
import { labelParts } from "../lib/format.js";
import { changeQuery } from "../lib/route.js";
import { TagChips } from "./tags.js";

/** `onSelect(id, {range})` toggles; with `range` (shift) it takes all from the last one to here. */
export function Tile({ image, selectable, selected, onSelect }) {
  const label = image.labels[0] && labelParts(image.labels[0].label)[0];
  return html`<li class=${selected ? "tile selected" : "tile"}>
    <button class="card-button" onClick=${() => changeQuery({ image: image.id })}>
      <span class="thumb">
        <img src=${imageUrl.thumbnail(image.id)} alt="" loading="lazy" decoding="async" />
      </span>
      <span class="tile-name" title=${image.filename}>${image.filename}</span>
      <span class="faint small tile-label">${label ?? " "}</span>
      <${TagChips} tags=${image.tags} />
    </button>
    ${selectable && html`<label class="tile-check">
      <input type="checkbox" checked=${selected} aria-label=${`Select ${image.filename}`}
        onClick=${(event) => onSelect(image.id, { range: event.shiftKey })} />
    </label>`}
  </li>`;
}

export function TileSkeletons({ count = 18 }) {
  return html`${Array.from({ length: count }, (_, index) => html`<li key=${`ghost-${index}`} class="tile" aria-hidden="true">
    <span class="card-button"><span class="thumb"></span><span class="tile-name"><span class="ghost"></span></span>
    <span class="small tile-label"> </span></span>
  </li>`)}`;
}
