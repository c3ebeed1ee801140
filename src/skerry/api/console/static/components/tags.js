/** Tags: shown as chips, edited as name and value. */

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { Icon } from "./icons.js";

export function TagChips({ tags }) {
  return html`<span class="chips">
    ${Object.entries(tags ?? {}).map(([name, value]) => html`<span key=${name} class="chip tag" title=${`${name} = ${value}`}>
      <${TagText} name=${name} value=${value} />
    </span>`)}
  </span>`;
}

export function TagText({ name, value }) {
  return html`<span class="tag-text"><span class="tag-name">${`${name} = `}</span>${String(value)}</span>`;
}

/** Edits `tags` (name → value); `onChange` gets the whole new object. */
export function TagEditor({ tags, onChange, disabled = false, label = "Tags", autofocus = false }) {
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const nameField = useRef(null);
  const complete = name.trim() && value.trim();

  const add = () => {
    if (!complete) return;
    onChange({ ...tags, [name.trim()]: value.trim() });
    setName("");
    setValue("");
    nameField.current.focus();
  };
  const remove = (gone) => {
    onChange(Object.fromEntries(Object.entries(tags).filter(([other]) => other !== gone)));
    nameField.current.focus();
  };
  const onKeyDown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // Enter adds the tag; it must not send a form around it.
    add();
  };

  return html`<div class="tag-editor" role="group" aria-label=${label}>
    <div class="chips">
      ${Object.entries(tags).map(([tag, content]) => html`<span key=${tag} class="chip tag">
        <${TagText} name=${tag} value=${content} />
        <button type="button" class="chip-button" disabled=${disabled} aria-label=${`Remove tag ${tag}`}
          onClick=${() => remove(tag)}><${Icon} name="close" size="14" /></button>
      </span>`)}
    </div>
    <div class="tag-fields">
      <input ref=${nameField} aria-label="Tag name" autofocus=${autofocus} placeholder="name" value=${name} disabled=${disabled} maxlength="64"
        autocapitalize="none" onInput=${(event) => setName(event.target.value)} onKeyDown=${onKeyDown} />
      <span aria-hidden="true">=</span>
      <input aria-label="Tag value" placeholder="value" value=${value} disabled=${disabled} maxlength="256"
        onInput=${(event) => setValue(event.target.value)} onKeyDown=${onKeyDown} />
      <button type="button" class="button" disabled=${disabled || !complete} onClick=${add}>Add tag</button>
    </div>
    ${!complete && (name.trim() || value.trim()) && html`<p class="hint">A tag has a name and a value, such as shelf = 3.</p>`}
  </div>`;
}
