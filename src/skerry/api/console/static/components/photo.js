/** The photo in question, in a frame that never changes its size. */

import { html, useState } from "../vendor/htm-preact.js";

/** Give it the address as its `key` too: what it learns of one photo is not true of the next. */
export function Photo({ url, name, busy = false }) {
  const [shape, setShape] = useState({ width: 0, height: 0, unreadable: false });
  const onLoad = ({ target }) => setShape({ width: target.naturalWidth, height: target.naturalHeight });
  return html`<figure class="photo">
    <div class=${busy ? "photo-frame busy" : "photo-frame"}>
      ${shape.unreadable
        ? html`<p class="faint">This browser can't show this file.</p>`
        : html`<img src=${url} alt=${`The photo ${name}`} onLoad=${onLoad} onError=${() => setShape({ unreadable: true })} />`}
    </div>
    <figcaption>
      <span class="photo-name" title=${name}>${name}</span>
      <span class="faint num">${shape.width ? `${shape.width} × ${shape.height}` : " "}</span>
    </figcaption>
  </figure>`;
}
