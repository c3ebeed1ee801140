/** Labels as bars: what it is, and how sure the model is. */

import { html } from "../vendor/htm-preact.js";
import { labelParts, share } from "../lib/format.js";

export function LabelBars({ labels, compact = false }) {
  return html`<ol class=${compact ? "bars compact" : "bars"}>
    ${labels.map(({ label, probability }, rank) => {
      const [name, synonyms] = labelParts(label);
      return html`<li key=${label} class=${rank === 0 ? "bar first" : "bar"}>
        <span class="bar-name" title=${label}>${name}${synonyms && html`<span class="faint">, ${synonyms}</span>`}</span>
        <span class="bar-value num">${share(probability)}</span>
        <span class="bar-track"><span class="bar-fill" style=${{ transform: `scaleX(${probability})` }}></span></span>
      </li>`;
    })}
  </ol>`;
}

/** The same room, before the answer is there. */
export function LabelBarsSkeleton({ rows = 5 }) {
  return html`<ol class="bars" aria-hidden="true">
    ${Array.from({ length: rows }, (_, row) => html`<li key=${row} class=${row === 0 ? "bar first" : "bar"}>
      <span class="bar-name"><span class="ghost"></span></span>
      <span class="bar-value num"> </span>
      <span class="bar-track"></span>
    </li>`)}
  </ol>`;
}
