/** Adding photos: what will be stored, and how. */

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { useConsole } from "../lib/context.js";
import { bytes, plural } from "../lib/format.js";
import { folderOf, splitImages } from "../lib/files.js";
import { Dialog } from "./dialog.js";
import { TagEditor } from "./tags.js";

const NAME_KEY = "skerry.uploaded_by";

/** Asks once for the whole batch: by whom, with which tags; then queues it. */
export function UploadDialog({ files, onClose }) {
  const { uploads, session } = useConsole();
  const { images, leftOut } = useMemo(() => splitImages(files), [files]);
  const folders = useMemo(() => new Set(images.map(folderOf).filter(Boolean)), [images]);
  const [uploadedBy, setUploadedBy] = useState(() => localStorage.getItem(NAME_KEY) ?? "");
  const [tags, setTags] = useState({});
  const [byFolder, setByFolder] = useState(false);
  const [folderTag, setFolderTag] = useState("folder");

  const start = (event) => {
    event.preventDefault();
    localStorage.setItem(NAME_KEY, uploadedBy.trim());
    const tagsFor = (file) => (byFolder && folderOf(file) ? { [folderTag.trim()]: folderOf(file), ...tags } : tags);
    uploads.add(images, (file) => ({ uploadedBy: uploadedBy.trim(), tags: tagsFor(file) }));
    onClose();
  };

  return html`<${Dialog} title=${images.length ? `Add ${plural(images.length, "photo")}` : "No photos among them"} onClose=${onClose}>
    <form onSubmit=${start}>
      <div class="dialog-body">
        <p class="faint num">
          ${images.length > 0 && `${bytes(images.reduce((sum, file) => sum + file.size, 0))} in all. `}
          ${leftOut > 0 && `${plural(leftOut, "other file")} left out: not an image.`}
        </p>
        ${images.length > 0 && html`
          <label class="field"><span class="field-name">Stored by</span>
            <input value=${uploadedBy} placeholder=${session.name || "your name (optional)"} maxlength="128"
              onInput=${(event) => setUploadedBy(event.target.value)} /></label>
          <div class="field"><span class="field-name">Tags for all of them</span>
            <${TagEditor} tags=${tags} onChange=${setTags} label="Tags for all of them" /></div>
          ${folders.size > 0 && html`<div class="folder-tag">
            <label class="check"><input type="checkbox" checked=${byFolder} onChange=${() => setByFolder(!byFolder)} />
              <span>Tag each with its folder's name (${[...folders].slice(0, 3).join(", ")}${folders.size > 3 ? " …" : ""})</span></label>
            ${byFolder && html`<label class="field"><span class="field-name">Name of that tag</span>
              <input value=${folderTag} required pattern=".*\\S.*" maxlength="64" onInput=${(event) => setFolderTag(event.target.value)} /></label>`}
          </div>`}`}
      </div>
      <footer class="dialog-foot">
        <button type="button" class="button" onClick=${onClose}>Cancel</button>
        <button class="button primary" autofocus disabled=${!images.length}>Store ${plural(images.length, "photo")}</button>
      </footer>
    </form>
  </${Dialog}>`;
}
