/** How far uploads are, at the page's foot in every view until it is closed. */

import { html, useState } from "../vendor/htm-preact.js";
import { plural } from "../lib/format.js";
import { changeQuery, navigate } from "../lib/route.js";
import { useWatched } from "../lib/watched.js";
import { Icon } from "./icons.js";

const SHOWN = 200;
const SAID_FIRST = ["failed", "sending", "waiting", "unchanged", "exists", "updated", "created", "cancelled"];
const UNDER_WAY = { waiting: "waiting", sending: "sending…", failed: "failed", cancelled: "cancelled" };

const PHOTOS = {
  label: "Uploads",
  one: "photo",
  statuses: { ...UNDER_WAY, created: "stored", exists: "was already stored" },
  summary: { exists: "already there", failed: "failed", cancelled: "stopped" },
  open: ({ id }) => changeQuery({ image: id }),
};
const DOCUMENTS = {
  label: "Uploads of documents",
  one: "document",
  statuses: { ...UNDER_WAY, sending: "reading…", created: "stored", updated: "updated", unchanged: "unchanged" },
  summary: { updated: "updated", unchanged: "unchanged", failed: "failed", cancelled: "stopped" },
  open: ({ id }) => navigate("documents", { part: "library", document: id }),
};

export function Trays({ photos, documents }) {
  return html`<div class="trays">
    <${Tray} uploads=${documents} words=${DOCUMENTS} />
    <${Tray} uploads=${photos} words=${PHOTOS} />
  </div>`;
}

function Tray({ uploads, words }) {
  useWatched(uploads);
  const [open, setOpen] = useState(true);
  const counts = uploads.counts;
  if (!counts.total) return null;
  const items = [...uploads.items].sort((a, b) => SAID_FIRST.indexOf(a.status) - SAID_FIRST.indexOf(b.status));

  return html`<aside class="tray" aria-label=${words.label}>
    <header class="tray-head">
      <strong>${uploads.busy ? `Storing ${plural(counts.total, words.one)}` : summary(counts, words)}</strong>
      <span class="spacer"></span>
      <button class="button quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"}</button>
      ${uploads.busy
        ? html`<button class="button quiet" onClick=${() => uploads.cancel()}>Stop</button>`
        : html`<button class="icon-button" aria-label="Close the list of uploads" onClick=${() => uploads.clear()}><${Icon} name="close" /></button>`}
    </header>
    <progress max=${counts.total} value=${counts.settled} aria-label=${`${words.one}s stored`}></progress>
    <p class="tray-counts num" role="status">${counts.settled} of ${counts.total} done${counts.failed ? `, ${counts.failed} failed` : ""}</p>
    ${open && html`<ul class="tray-list">
      ${items.slice(0, SHOWN).map((item) => html`<${UploadItem} key=${item.key} item=${item} words=${words} />`)}
      ${items.length > SHOWN && html`<li class="faint">and ${items.length - SHOWN} more</li>`}
    </ul>`}
  </aside>`;
}

function summary(counts, { one, summary: words }) {
  const others = Object.entries(words).filter(([status]) => counts[status]).map(([status, word]) => `${counts[status]} ${word}`);
  return [`${plural(counts.created ?? 0, one)} stored`, ...others].join(", ");
}

function UploadItem({ item: { name, status, stored, error }, words }) {
  const passages = stored?.chunks == null ? "" : `, ${plural(stored.chunks, "passage")}`;
  return html`<li class=${`tray-item ${status}`}>
    <span class="tray-name" title=${name}>${name}</span>
    <span class="tray-status num">
      ${stored ? html`<button class="link" onClick=${() => words.open(stored)}>${words.statuses[status]}</button>${passages}` : words.statuses[status]}
    </span>
    ${stored?.notes?.map((note) => html`<span class="tray-note">${note}</span>`)}
    ${error && status === "failed" && html`<span class="tray-error">${error.message} ${error.remedy}</span>`}
  </li>`;
}
