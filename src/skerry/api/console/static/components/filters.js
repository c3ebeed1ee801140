/** The collection's filters: they live in the page's address, so a filtered view can be bookmarked. */

import { html, useState } from "../vendor/htm-preact.js";
import { FILTERS } from "../lib/collection.js";
import { changeQuery } from "../lib/route.js";
import { useTyped } from "../lib/typing.js";
import { Icon } from "./icons.js";

const NAMES = { label: "Label", uploaded_by: "Stored by", tag: "Tag", from: "From", to: "Until" };
const WRONG_TAG = "Write a tag as name=value, such as shelf=3.";

export function Filters({ filters, images }) {
  const [open, setOpen] = useState(false);
  const active = FILTERS.filter((name) => filters[name]);
  const wrongTag = filters.tag && !/^[^=]+=.+$/.test(filters.tag);
  const set = (name) => (value) => changeQuery({ [name]: value }, { replace: true });

  return html`<section class="filters" aria-label="Filters">
    <button class="button filters-toggle" aria-expanded=${open} aria-controls="filter-fields" onClick=${() => setOpen(!open)}>
      <${Icon} name="filter" /> Filters${active.length ? ` (${active.length})` : ""}
    </button>
    <div id="filter-fields" class=${open ? "filter-fields open" : "filter-fields"}>
      <${TextFilter} name="label" value=${filters.label} placeholder="tabby" choices=${labelsOf(images)} onChange=${set("label")} />
      <${TextFilter} name="uploaded_by" value=${filters.uploaded_by} placeholder="anyone" choices=${ownersOf(images)} onChange=${set("uploaded_by")} />
      <${TextFilter} name="tag" value=${filters.tag} placeholder="shelf=3" choices=${tagsOf(images)} onChange=${set("tag")}
        problem=${wrongTag ? WRONG_TAG : ""} />
      <${DateFilter} name="from" value=${filters.from} max=${filters.to} onChange=${set("from")} />
      <${DateFilter} name="to" value=${filters.to} min=${filters.from} onChange=${set("to")} />
      <button class="button quiet" disabled=${!active.length}
        onClick=${() => changeQuery(Object.fromEntries(FILTERS.map((name) => [name, ""])))}>Clear</button>
    </div>
  </section>`;
}

const sorted = (values) => [...new Set(values)].sort().slice(0, 100);
const labelsOf = (images) => sorted(images.flatMap(({ labels }) => labels.slice(0, 1).map(({ label }) => label)));
const ownersOf = (images) => sorted(images.map((image) => image.uploaded_by).filter(Boolean));
const tagsOf = (images) => sorted(images.flatMap(({ tags }) => Object.entries(tags).map((tag) => tag.join("="))));

function TextFilter({ name, value = "", placeholder, choices, problem = "", onChange }) {
  const [text, onInput] = useTyped(value, onChange);
  return html`<label class="field">
    <span class="field-name">${NAMES[name]}</span>
    <input type="text" value=${text} placeholder=${placeholder} list=${`choices-${name}`} autocapitalize="none" autocomplete="off"
      aria-invalid=${Boolean(problem)} aria-describedby=${problem ? `problem-${name}` : undefined} onInput=${onInput} />
    <datalist id=${`choices-${name}`}>${choices.map((choice) => html`<option key=${choice} value=${choice} />`)}</datalist>
    ${problem && html`<span id=${`problem-${name}`} class="field-problem">${problem}</span>`}
  </label>`;
}

function DateFilter({ name, value = "", min, max, onChange }) {
  return html`<label class="field">
    <span class="field-name">${NAMES[name]}</span>
    <input type="date" value=${value} min=${min} max=${max} onChange=${(event) => onChange(event.target.value)} />
  </label>`;
}
