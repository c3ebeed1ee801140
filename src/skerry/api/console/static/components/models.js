/** Choose a model of the node, and learn what keeps it from answering. */

import { html } from "../vendor/htm-preact.js";
import { Icon } from "./icons.js";

const STATES = {
  waiting: "is still on its way to this node",
  pulling: "is still on its way to this node",
  loading: "is being loaded into memory",
  failed: "can't be used",
};
export const MODEL_TONES = { ready: "good", waiting: "wait", pulling: "wait", loading: "wait", starting: "wait", failed: "bad" };

export function ModelPicker({ models, chosen, onChoose, label = "Model" }) {
  return html`<label class="picker">
    <span class="field-name">${label}</span>
    <select value=${chosen?.name} onChange=${(event) => onChoose(event.target.value)}>
      ${models.map(({ name, state }) => html`<option key=${name} value=${name}>${name}${STATES[state] ? ` (${state})` : ""}</option>`)}
    </select>
  </label>`;
}

/** Says why a model does not answer yet; nothing for one that does, or that loads when asked. */
export function ModelNotice({ model }) {
  const what = STATES[model.state];
  if (!what) return null;
  const failed = model.state === "failed";
  return html`<div class=${failed ? "notice notice-error" : "notice"}>
    ${failed ? html`<${Icon} name="alert" />` : html`<span class="spinner"></span>`}
    <div class="notice-body">
      <p class="notice-title">${model.name} ${what}.</p>
      ${model.reason && html`<p>${model.reason}</p>`}
      ${!failed && html`<p class="faint">Nothing has to be done: this page notices when it is ready.</p>`}
    </div>
  </div>`;
}
