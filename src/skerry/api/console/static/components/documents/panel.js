/** One document in a panel at the side, opened at a place of its text. */

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { api } from "../../api.js";
import { useConsole } from "../../lib/context.js";
import { date, dateTime, integer, plural } from "../../lib/format.js";
import { unitsOf } from "../../lib/places.js";
import { changeQuery } from "../../lib/route.js";
import { Dialog } from "../dialog.js";
import { Icon } from "../icons.js";
import { ErrorNotice, Loading } from "../notice.js";
import { DeleteDialog } from "./delete.js";
import { placeOf, titleOf } from "./marked.js";

const AROUND = 40000; // Units of text on each side: all of a book at once would make the page slow.
const FIRST_WORDS = 60;
const close = () => changeQuery({ document: "", from: "", to: "" });

/** `id`, `from` and `to`, as the node counts, come from the page's address. */
export function DocumentPanel({ id, from, to }) {
  const [state, setState] = useState({ document: null, error: null });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState({ document: null, error: null });
    api.document(id, abort.signal)
      .then(({ data }) => setState({ document: data, error: null }))
      .catch((error) => !abort.signal.aborted && setState({ document: null, error }));
    return () => abort.abort();
  }, [id, attempt]);

  const { document, error } = state;
  return html`<${Dialog} panel wide title=${document ? titleOf(document) : "Document"} onClose=${close}>
    <div class="dialog-body">
      ${error && html`<${ErrorNotice} error=${error} onRetry=${() => setAttempt(attempt + 1)} />`}
      ${!document && !error && html`<${Loading} label="Loading the document" />`}
      ${document && html`
        <${Facts} document=${document} />
        <${Text} key=${`${document.id} ${from} ${to}`} text=${document.text} place=${placeIn(from, to)} />`}
    </div>
  </${Dialog}>`;
}

/** [start, end) out of the address, or null. */
function placeIn(from, to) {
  const place = [from, to].map(Number);
  return from && place.every(Number.isInteger) && place[0] < place[1] ? place : null;
}

function Facts({ document }) {
  const { can } = useConsole();
  const { id, category, timestamp, metadata, chunks, characters, created_at: createdAt, updated_at: updatedAt } = document;
  return html`<div class="document-facts">
    <dl class="facts">
      <dt>Id</dt><dd>${id}</dd>
      ${category && html`<dt>Category</dt><dd><span class="chip tag">${category}</span></dd>`}
      ${timestamp != null && html`<dt>Dated</dt><dd>${date(timestamp)}</dd>`}
      <dt>Stored</dt><dd>${dateTime(createdAt)}${updatedAt !== createdAt && `, updated ${dateTime(updatedAt)}`}</dd>
      <dt>Size</dt><dd class="num">${plural(characters, "character")} in ${plural(chunks, "passage")}</dd>
      ${Object.entries(metadata).map(([name, value]) => html`<dt>${name}</dt><dd>${[value].flat().map(String).join(", ")}</dd>`)}
    </dl>
    ${can("write") && html`<${DeleteButton} document=${document} />`}
  </div>
  <${Passages} parts=${document.parts} />`;
}

function DeleteButton({ document }) {
  const [asking, setAsking] = useState(false);
  return html`<button class="button danger-quiet" onClick=${() => setAsking(true)}><${Icon} name="trash" /> Delete…</button>
    ${asking && html`<${DeleteDialog} document=${document} onClose=${() => setAsking(false)} onDeleted=${close} />`}`;
}

/** What the document is searched by; each opens its place in the text. */
function Passages({ parts }) {
  const [open, setOpen] = useState(false);
  return html`<details class="passages" onToggle=${({ target }) => setOpen(target.open)}>
    <summary>Passages <span class="faint num">${integer(parts.length)}</span></summary>
    ${open && html`<ol class="passage-list">${parts.map((part) => html`<li key=${part.id}>
      <button class="link" onClick=${() => changeQuery({ from: part.start, to: part.end }, { replace: true })}>${firstWords(part.text)}</button>
      <span class="faint small">${placeOf(part)}</span>
    </li>`)}</ol>`}
  </details>`;
}

function firstWords(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > FIRST_WORDS ? `${line.slice(0, FIRST_WORDS)}…` : line;
}

/** The text, or of a long one what is around the place; the place is marked and scrolled to. */
function Text({ text, place }) {
  const mark = useRef(null);
  const [start, end] = unitsOf(text, place ?? [0, 0]);
  const [[first, last], show] = useState([Math.max(0, start - AROUND), Math.min(text.length, end + AROUND)]);
  useEffect(() => {
    mark.current?.scrollIntoView({ block: "center" });
    mark.current?.focus({ preventScroll: true });
  }, []);
  return html`<section class="document-text" aria-label="Text">
    ${first > 0 && html`<button class="button" onClick=${() => show([Math.max(0, first - AROUND), last])}>Show what stands before</button>`}
    <p class="reading" dir="auto">${place
      ? html`${text.slice(first, start)}<mark ref=${mark} tabindex="-1">${text.slice(start, end)}</mark>${text.slice(end, last)}`
      : text.slice(first, last)}</p>
    ${last < text.length && html`<button class="button" onClick=${() => show([first, Math.min(text.length, last + AROUND)])}>Show what follows</button>`}
  </section>`;
}
