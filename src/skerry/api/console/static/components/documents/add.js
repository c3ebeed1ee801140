/** Adding documents: which files are read, and under which category. */

import { html, useMemo, useState } from "../../vendor/htm-preact.js";
import { useConsole } from "../../lib/context.js";
import { folderOf, pathOf, splitDocuments } from "../../lib/files.js";
import { bytes, plural } from "../../lib/format.js";
import { Dialog } from "../dialog.js";

/** A document's id is its file's path in the chosen folder, so that the same file updates it. */
export function AddDialog({ files, onClose }) {
  const { documentUploads } = useConsole();
  const { documents, leftOut } = useMemo(() => splitDocuments(files), [files]);
  const folders = useMemo(() => [...new Set(documents.map(folderOf).filter(Boolean))], [documents]);
  const [category, setCategory] = useState("");
  const [byFolder, setByFolder] = useState(false);
  const count = plural(documents.length, "document");

  const start = (event) => {
    event.preventDefault();
    const categoryOf = (file) => (byFolder && folderOf(file)) || category.trim();
    documentUploads.add(documents, (file) => ({ id: pathOf(file), category: categoryOf(file) }));
    onClose();
  };

  return html`<${Dialog} title=${documents.length ? `Add ${count}` : "No documents among them"} onClose=${onClose}>
    <form onSubmit=${start}>
      <div class="dialog-body">
        <p class="faint num">
          ${documents.length > 0 && `${bytes(documents.reduce((sum, file) => sum + file.size, 0))} in all. `}
          ${leftOut > 0 && `${plural(leftOut, "other file")} left out: the node reads .txt, .md, .html, .pdf and .docx.`}
        </p>
        ${documents.length > 0 && html`
          <div class="field"><label class="field-name" for="add-category">Category</label>
            <input id="add-category" value=${category} placeholder="none" maxlength="200" aria-describedby="add-hint"
              onInput=${(event) => setCategory(event.target.value)} />
            <span id="add-hint" class="hint">A search can be narrowed to it. A file that is there already is updated.</span></div>
          ${folders.length > 0 && html`<label class="check"><input type="checkbox" checked=${byFolder} onChange=${() => setByFolder(!byFolder)} />
            <span>Each file’s folder is its category (${folders.slice(0, 3).join(", ")}${folders.length > 3 ? " …" : ""})</span></label>`}`}
      </div>
      <footer class="dialog-foot">
        <button type="button" class="button" onClick=${onClose}>Cancel</button>
        <button class="button primary" autofocus disabled=${!documents.length}>Store ${count}</button>
      </footer>
    </form>
  </${Dialog}>`;
}
