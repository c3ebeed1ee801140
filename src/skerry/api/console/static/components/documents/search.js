/** Search the documents as one types. */

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { useConsole } from "../../lib/context.js";
import { date, milliseconds, plural } from "../../lib/format.js";
import { chosenOf, everything, isNarrowed } from "../../lib/narrowing.js";
import { excerptOf } from "../../lib/places.js";
import { changeQuery, hashOf } from "../../lib/route.js";
import { useSearch } from "../../lib/searching.js";
import { Empty, RetriedError } from "../notice.js";
import { Categories, Narrowing } from "./facets.js";
import { Marked, placeOf, titleOf } from "./marked.js";

const TYPING_MS = 200;
const MODES = [["hybrid", "Both"], ["dense", "Meaning"], ["keyword", "Words"]];

export function Search({ query }) {
  const { q = "", mode = "hybrid", group = "" } = query;
  const search = useSearch(query);
  const { phase, results, error } = search;
  const waiting = phase === "loading";

  return html`
    <${Box} q=${q} mode=${mode} group=${group} onAgain=${search.reload} />
    <${Categories} facets=${search.facets} query=${query} />
    ${(q || isNarrowed(query)) && html`<${Narrowing} facets=${search.facets} query=${query} />`}
    ${error && html`<${RetriedError} error=${error} onRetry=${search.reload} />`}
    <p class="faint small num found" role="status">${told(search)}</p>
    ${phase === "ready" && !results.length && html`<${Nothing} query=${query} />`}
    ${phase === "idle" && html`<${Beginning} />`}
    <h2 class="visually-hidden">Passages found</h2>
    <ol class="results" aria-label="Passages found" aria-busy=${waiting}>
      ${results.map((result) => html`<${Result} key=${result.chunk} result=${result} />`)}
    </ol>
    <div class="more">
      ${search.more && html`<button class="button" disabled=${phase === "more"} onClick=${search.loadMore}>
        ${phase === "more" ? "Loading…" : "Show more"}</button>`}
    </div>`;
}

function told({ phase, results, more, tookMs }) {
  if (phase === "loading" && !results.length) return "Searching…";
  if (!results.length || tookMs == null) return " ";
  return `${more ? "The first " : ""}${plural(results.length, "passage")}, ${milliseconds(tookMs)} on the node`;
}

/** What is typed is asked after a pause, or at once with Enter. */
function Box({ q, mode, group, onAgain }) {
  const [text, setText] = useState(q);
  const field = useRef(null);
  const timer = useRef(0);
  const asked = useRef(q);
  useEffect(() => {
    // Another address, such as by the browser's back: its words take the place of what stands there.
    if (q !== asked.current) setText(q);
    asked.current = q;
  }, [q]);
  useEffect(() => {
    field.current.focus({ preventScroll: true });
    return () => clearTimeout(timer.current);
  }, []);

  const ask = (words) => {
    clearTimeout(timer.current);
    asked.current = words.trim();
    changeQuery({ q: asked.current }, { replace: true });
  };
  const onInput = ({ target: { value } }) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => ask(value), TYPING_MS);
  };
  const submit = (event) => {
    event.preventDefault();
    if (text.trim() === q && q) onAgain();
    else ask(text);
  };
  return html`<form class="search-box" role="search" aria-label="Documents" onSubmit=${submit}>
    <label class="search-words"><span class="visually-hidden">Search the documents</span>
      <input ref=${field} type="search" value=${text} placeholder="Search the documents" maxlength="10000" dir="auto"
        autocomplete="off" spellcheck="false" enterkeyhint="search" onInput=${onInput} /></label>
    <${Modes} mode=${mode} />
    <label class="check"><input type="checkbox" checked=${Boolean(group)}
      onChange=${({ target }) => changeQuery({ group: target.checked ? "1" : "" }, { replace: true })} />
      <span>One passage a document</span></label>
  </form>`;
}

function Modes({ mode }) {
  const choose = (name) => changeQuery({ mode: name === "hybrid" ? "" : name }, { replace: true });
  return html`<fieldset class="plain segments">
    <legend class="visually-hidden">Search by</legend>
    ${MODES.map(([name, title]) => html`<label key=${name} class="segment">
      <input type="radio" name="mode" checked=${mode === name} onChange=${() => choose(name)} /><span>${title}</span></label>`)}
  </fieldset>`;
}

function Result({ result }) {
  const { id, start, end, score, category, timestamp } = result;
  const place = placeOf(result);
  const title = titleOf(result);
  return html`<li class="card result">
    <h3 class="result-title"><button class="link" onClick=${() => changeQuery({ document: id, from: start, to: end })}>${title}</button></h3>
    <span class="result-score num" title="Score"><span class="visually-hidden">Score </span>${score.toFixed(2)}</span>
    <p class="result-place small">
      ${category && html`<span class="chip tag">${category}</span>`}
      ${place && html`<span>${place}</span>`}
      ${timestamp != null && html`<span>${date(timestamp)}</span>`}
      ${title !== id && html`<span class="faint result-id">${id}</span>`}
    </p>
    <p class="passage" dir="auto"><${Marked} pieces=${excerptOf(result.text, result.highlights)} /></p>
  </li>`;
}

function Nothing({ query }) {
  const { q, mode } = query;
  const narrowed = isNarrowed(query) || Object.keys(chosenOf(query)).length > 0;
  return html`<${Empty} title=${`Nothing found for “${q}”`}>
    ${narrowed && html`<button class="button" onClick=${() => changeQuery(everything(query), { replace: true })}>Search all documents</button>`}
    ${!narrowed && mode === "keyword" && html`<button class="button" onClick=${() => changeQuery({ mode: "" }, { replace: true })}>Search by meaning too</button>`}
    ${!narrowed && mode !== "keyword" && html`<p>Other words may find it.</p>`}
  </${Empty}>`;
}

function Beginning() {
  const { status } = useConsole();
  if (status?.documents.count === 0) {
    return html`<${Empty} title="No documents are stored yet">
      <a class="button primary" href=${hashOf("documents", { part: "library" })}>Add documents</a>
    </${Empty}>`;
  }
  return html`<${Empty} title="Search by words, by meaning, or both">
    <p>Passages appear as you type. For one answer instead of passages, <a href=${hashOf("documents", { part: "ask" })}>ask</a>.</p>
  </${Empty}>`;
}
