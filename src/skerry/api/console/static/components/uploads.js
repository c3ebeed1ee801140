/** Adding photos: what will be stored and how, then how far it is. */

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { useConsole } from "../lib/context.js";
import { bytes, plural } from "../lib/format.js";
import { folderOf, splitImages } from "../lib/files.js";
import { changeQuery } from "../lib/route.js";
import { useUploads } from "../lib/uploads.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { TagEditor } from "./tags.js";

const NAME_KEY = "skerry.uploaded_by";
const SHOWN = 200;

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
    uploads.add(images, { uploadedBy: uploadedBy.trim(), tagsFor });
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

const STATUS = {
  waiting: "waiting",
  sending: "sending…",
  created: "stored",
  exists: "was already stored",
  failed: "failed",
  cancelled: "cancelled",
};
const SAID_FIRST = { failed: 0, sending: 1, waiting: 2, exists: 3, created: 4, cancelled: 5 };

/** The queue's progress, at the page's foot in every view until it is closed. */
export function UploadTray() {
  const { uploads } = useConsole();
  useUploads(uploads);
  const [open, setOpen] = useState(true);
  const counts = uploads.counts;
  if (!counts.total) return null;
  const items = [...uploads.items].sort((a, b) => SAID_FIRST[a.status] - SAID_FIRST[b.status]);

  return html`<aside class="tray" aria-label="Uploads">
    <header class="tray-head">
      <strong>${uploads.busy ? `Storing ${plural(counts.total, "photo")}` : summary(counts)}</strong>
      <span class="spacer"></span>
      <button class="button quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"}</button>
      ${uploads.busy
        ? html`<button class="button quiet" onClick=${() => uploads.cancel()}>Stop</button>`
        : html`<button class="icon-button" aria-label="Close the list of uploads" onClick=${() => uploads.clear()}><${Icon} name="close" /></button>`}
    </header>
    <progress max=${counts.total} value=${counts.settled} aria-label="Photos stored"></progress>
    <p class="tray-counts num" role="status">${counts.settled} of ${counts.total} done${counts.failed ? `, ${counts.failed} failed` : ""}</p>
    ${open && html`<ul class="tray-list">
      ${items.slice(0, SHOWN).map((item) => html`<${UploadItem} key=${item.key} item=${item} />`)}
      ${items.length > SHOWN && html`<li class="faint">and ${items.length - SHOWN} more</li>`}
    </ul>`}
  </aside>`;
}

function summary({ created, exists, failed, cancelled }) {
  const parts = [`${plural(created, "photo")} stored`];
  if (exists) parts.push(`${exists} already there`);
  if (failed) parts.push(`${failed} failed`);
  if (cancelled) parts.push(`${cancelled} stopped`);
  return parts.join(", ");
}

function UploadItem({ item }) {
  return html`<li class=${`tray-item ${item.status}`}>
    <span class="tray-name" title=${item.name}>${item.name}</span>
    <span class="tray-status">
      ${item.image ? html`<button class="link" onClick=${() => changeQuery({ image: item.image.id })}>${STATUS[item.status]}</button>` : STATUS[item.status]}
    </span>
    ${item.error && item.status === "failed" && html`<span class="tray-error">${item.error.message} ${item.error.remedy}</span>`}
  </li>`;
}
