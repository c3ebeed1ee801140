/** What a search can be narrowed by: the values that were found, and dates. */

import { html, useState } from "../../vendor/htm-preact.js";
import { integer } from "../../lib/format.js";
import { chosenOf, everything, facetName, isNarrowed } from "../../lib/narrowing.js";
import { changeQuery } from "../../lib/route.js";

const set = (name, value) => changeQuery({ [name]: value }, { replace: true });

/** The categories of what was found; the chosen one is always among them. */
export function Categories({ facets, query }) {
  return html`<${Values} field="category" counts=${facets.category} chosen=${query.category} label="Categories" />`;
}

/** Dates and metadata, folded away until they are wanted or chosen. */
export function Narrowing({ facets, query }) {
  const chosen = chosenOf(query);
  const fields = [...new Set([...Object.keys(facets), ...Object.keys(chosen)])]
    .filter((field) => field !== "category" && (chosen[field] || Object.keys(facets[field]).length > 1));
  const narrowed = isNarrowed(query);
  const [open, setOpen] = useState(narrowed);
  return html`<details class="narrowing" open=${open} onToggle=${({ target }) => setOpen(target.open)}>
    <summary>Narrow by <span class="faint">${["date", ...fields.map(facetName)].join(", ")}</span></summary>
    <div class="narrowing-fields">
      <${Dates} since=${query.since} until=${query.until} />
      ${fields.map((field) => html`<div key=${field} class="facet">
        <span class="field-name" aria-hidden="true">${facetName(field)}</span>
        <${Values} field=${field} counts=${facets[field]} chosen=${chosen[field]} label=${facetName(field)} />
      </div>`)}
      ${narrowed && html`<button class="button quiet" onClick=${() => changeQuery(everything(query), { replace: true })}>Clear all</button>`}
    </div>
  </details>`;
}

function Values({ field, counts = {}, chosen, label }) {
  const all = { ...(chosen && !Object.hasOwn(counts, chosen) ? { [chosen]: null } : {}), ...counts };
  const names = Object.keys(all);
  if (!names.length) return null;
  return html`<ul class="topics facets" aria-label=${label}>
    ${names.map((name) => html`<li key=${name}><button class="topic" aria-pressed=${name === chosen}
      onClick=${() => set(field, name === chosen ? "" : name)}>
      <span class="topic-name">${name}</span>${all[name] != null && html` <span class="num topic-count">${integer(all[name])}</span>`}</button></li>`)}
  </ul>`;
}

function Dates({ since = "", until = "" }) {
  return html`<div class="dates">
    <label class="field"><span class="field-name">Dated from</span>
      <input type="date" value=${since} max=${until} onChange=${({ target }) => set("since", target.value)} /></label>
    <label class="field"><span class="field-name">Dated until</span>
      <input type="date" value=${until} min=${since} onChange=${({ target }) => set("until", target.value)} /></label>
  </div>`;
}
