/** The photo in question, in a frame that never changes its size. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";

export function Photo({ url, name, busy = false }) {
  const [shape, setShape] = useState({ width: 0, height: 0, unreadable: false });
  useEffect(() => setShape({ width: 0, height: 0, unreadable: false }), [url]);
  const onLoad = ({ target }) => setShape({ width: target.naturalWidth, height: target.naturalHeight });
  return html`<figure class="photo">
    <div class=${busy ? "photo-frame busy" : "photo-frame"}>
      ${shape.unreadable
        ? html`<p class="faint">This browser can't show the format; the node may still read it.</p>`
        : html`<img src=${url} alt=${`The photo ${name}`} onLoad=${onLoad} onError=${() => setShape({ unreadable: true })} />`}
    </div>
    <figcaption>
      <span class="photo-name" title=${name}>${name}</span>
      <span class="faint num">${shape.width ? `${shape.width} × ${shape.height}` : " "}</span>
    </figcaption>
  </figure>`;
}
