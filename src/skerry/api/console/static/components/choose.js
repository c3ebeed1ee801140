/** Buttons that open the system's file chooser. */

import { html, useRef } from "../vendor/htm-preact.js";

/** A real button over a hidden file field; `attributes` go to the field (multiple, capture …). */
export function FileButton({ onFiles, children, label, primary = false, disabled = false, ...attributes }) {
  const field = useRef(null);
  const onChange = (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // So that choosing the same file again is noticed.
    if (files.length) onFiles(files);
  };
  return html`
    <button type="button" class=${primary ? "button primary" : "button"} disabled=${disabled}
      onClick=${() => field.current.click()}>${children}</button>
    <input ref=${field} class="hidden-file" type="file" tabindex="-1" aria-label=${label} hidden
      onChange=${onChange} ...${attributes} />`;
}
