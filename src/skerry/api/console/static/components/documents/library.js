/** What is stored: add files, look at documents, delete them. */

import { html, useState } from "../../vendor/htm-preact.js";
import { api } from "../../api.js";
import { useConsole } from "../../lib/context.js";
import { DOCUMENT_TYPES } from "../../lib/files.js";
import { ago, dateTime, integer, plural } from "../../lib/format.js";
import { useLibrary } from "../../lib/library.js";
import { changeQuery } from "../../lib/route.js";
import { FileButton } from "../choose.js";
import { Confirm } from "../dialog.js";
import { Icon } from "../icons.js";
import { More } from "../more.js";
import { Empty, Loading, RetriedError } from "../notice.js";
import { CategoryFilter } from "./category.js";
import { DeleteDialog } from "./delete.js";
import { titleOf } from "./marked.js";

export function Library({ query: { category = "" }, onFiles }) {
  const { can, documentChanges } = useConsole();
  const library = useLibrary(category, documentChanges);
  const { documents, total, phase, error } = library;
  const [doomed, setDoomed] = useState(null);
  const writable = can("write");

  return html`
    <div class="library-tools">
      <${CategoryFilter} value=${category} />
      <p class="faint num" role="status">${total != null && category ? `${plural(total, "document")} found` : " "}</p>
      <span class="spacer"></span>
      ${writable && category && total > 0 && html`<${DeleteCategory} category=${category} total=${total} onDeleted=${library.reload} />`}
      ${writable && html`<div class="add-buttons">
        <${FileButton} primary label="Documents to store" accept=${DOCUMENT_TYPES} multiple onFiles=${onFiles}><${Icon} name="plus" /> Add documents</${FileButton}>
        <${FileButton} label="Folder of documents to store" webkitdirectory onFiles=${onFiles}><${Icon} name="folder" /> Add a folder</${FileButton}>
      </div>`}
    </div>
    ${error && html`<${RetriedError} error=${error} onRetry=${library.reload} />`}
    ${phase === "loading" && !documents.length && html`<${Loading} label="Reading the list" />`}
    ${phase === "ready" && !documents.length && html`<${Nothing} category=${category} writable=${writable} />`}
    ${documents.length > 0 && html`<${Table} documents=${documents} busy=${phase === "loading"} writable=${writable} onDelete=${setDoomed} />`}
    <${More} pages=${library} />
    ${doomed && html`<${DeleteDialog} document=${doomed} onClose=${() => setDoomed(null)} />`}`;
}

function Table({ documents, busy, writable, onDelete }) {
  return html`<div class="card library" aria-busy=${busy}><table class="library-table">
    <caption class="visually-hidden">Stored documents, the last added first</caption>
    <thead><tr>
      <th scope="col">Document</th><th scope="col" class="only-wide">Category</th><th scope="col" class="number">Passages</th>
      <th scope="col" class="number only-wide">Characters</th><th scope="col" class="only-wide">Stored</th>
      ${writable && html`<th scope="col"><span class="visually-hidden">Delete</span></th>`}
    </tr></thead>
    <tbody>${documents.map((document) => html`<${Row} key=${document.id} document=${document} writable=${writable} onDelete=${onDelete} />`)}</tbody>
  </table></div>`;
}

function Row({ document, writable, onDelete }) {
  const { id, category, chunks, characters, updated_at: updatedAt } = document;
  const title = titleOf(document);
  return html`<tr>
    <td class="library-name">
      <button class="link" onClick=${() => changeQuery({ document: id, from: "", to: "" })}>${title}</button>
      ${title !== id && html`<span class="faint small">${id}</span>`}
      ${category && html`<span class="chip tag only-narrow">${category}</span>`}
    </td>
    <td class="only-wide">${category && html`<span class="chip tag">${category}</span>`}</td>
    <td class="number num">${integer(chunks)}</td>
    <td class="number num only-wide">${integer(characters)}</td>
    <td class="only-wide"><time title=${dateTime(updatedAt)}>${ago(updatedAt)}</time></td>
    ${writable && html`<td class="library-delete"><button class="icon-button" aria-label=${`Delete ${title}`} title="Delete" onClick=${() => onDelete(document)}>
      <${Icon} name="trash" size="18" /></button></td>`}
  </tr>`;
}

function DeleteCategory({ category, total, onDeleted }) {
  const { announce } = useConsole();
  const [asking, setAsking] = useState(false);
  const count = plural(total, "document");
  const remove = async () => {
    const { data } = await api.deleteCategory(category);
    announce(`${plural(data.deleted, "document")} deleted.`);
    onDeleted();
  };
  return html`<button class="button danger-quiet" onClick=${() => setAsking(true)}><${Icon} name="trash" /> Delete them…</button>
    ${asking && html`<${Confirm} title=${`Delete ${count}?`} action=${`Delete ${count}`} onConfirm=${remove} onClose=${() => setAsking(false)}>
      <p>All documents of the category <strong>${category}</strong> leave the node and every search. This can’t be undone; the files they came from stay.</p>
    </${Confirm}>`}`;
}

function Nothing({ category, writable }) {
  if (category) {
    return html`<${Empty} title=${`No document has the category “${category}”`}>
      <button class="button" onClick=${() => changeQuery({ category: "" })}>Show all</button>
    </${Empty}>`;
  }
  return html`<${Empty} title="No documents are stored yet">
    <p>${writable && "Drop files or a folder anywhere on this page, or use the buttons above: .txt, .md, .html, .pdf and .docx are read. "}
      From a shell: <code>skerry docs add FOLDER</code></p>
  </${Empty}>`;
}
