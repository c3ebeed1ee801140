/** A field for text of any length: Enter sends, Shift and Enter begins a new line. */

import { html } from "../vendor/htm-preact.js";

/** `attributes` go to the field; `field` is a ref to it. */
export function TextField({ label, value, onInput, onEnter, field, hidden = false, ...attributes }) {
  const onKeyDown = (event) => {
    // While an input method composes a character, Enter only confirms it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || !onEnter) return;
    event.preventDefault();
    onEnter();
  };
  return html`<label class="field">
    <span class=${hidden ? "visually-hidden" : "field-name"}>${label}</span>
    <textarea ref=${field} value=${value} dir="auto" onKeyDown=${onKeyDown}
      onInput=${(event) => onInput(event.target.value)} ...${attributes}></textarea>
  </label>`;
}
