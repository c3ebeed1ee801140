/** How near two texts are: a number, a bar and a word for it. */

import { html } from "../vendor/htm-preact.js";
import { likenessWords } from "../lib/vectors.js";

/** `value` is a cosine, undefined before there is one; the bar begins at 0. */
export function Likeness({ value, size }) {
  if (value === undefined) {
    return html`<div class="likeness" aria-hidden="true">
      <p class="likeness-value"><strong class="num">–</strong></p><span class="bar-track"></span>
      <p class="likeness-ends hint"><span>0 unrelated</span><span>1 the same</span></p>
    </div>`;
  }
  return html`<div class="likeness">
    <p class="likeness-value"><strong class="num">${value.toFixed(3)}</strong> <span>${likenessWords(value)}</span></p>
    <span class="bar-track"><span class="bar-fill" style=${{ transform: `scaleX(${Math.max(0, Math.min(1, value))})` }}></span></span>
    <p class="likeness-ends hint"><span>0 unrelated</span><span>1 the same</span></p>
    <p class="hint">Cosine of two vectors of ${size} numbers. The words fit the default model; others have scales of their own.</p>
  </div>`;
}
