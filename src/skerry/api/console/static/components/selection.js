/** What can be done with several images at once: tag them, delete them. */

import { html, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";
import { forEach } from "../lib/collection.js";
import { useConsole } from "../lib/context.js";
import { plural } from "../lib/format.js";
import { Confirm, Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { ErrorNotice } from "./notice.js";
import { TagEditor } from "./tags.js";

export function SelectionBar({ images, allLoaded, onSelectAll, onClear }) {
  const { changes, announce } = useConsole();
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);

  const remove = async () => {
    await deleteImages(images, changes);
    announce(`${plural(images.length, "image")} deleted.`);
    onClear();
  };

  return html`<div class="selection-bar" role="region" aria-label="Selection">
    <strong class="num">${plural(images.length, "image")} selected</strong>
    <button class="button quiet" disabled=${allLoaded} onClick=${onSelectAll}>Select all</button>
    <button class="button quiet" onClick=${onClear}>Clear</button>
    <span class="spacer"></span>
    <button class="button" onClick=${() => setDialog("tags")}><${Icon} name="tag" /> Tag…</button>
    <button class="button danger-quiet" onClick=${() => setDialog("delete")}><${Icon} name="trash" /> Delete…</button>
    ${dialog === "tags" && html`<${TagDialog} images=${images} onClose=${close} />`}
    ${dialog === "delete" && html`<${Confirm} title=${`Delete ${plural(images.length, "image")}?`}
        action=${`Delete ${plural(images.length, "image")}`} onConfirm=${remove} onClose=${close}>
      <p>The photos, their tags and their place in every search are removed. This can't be undone.</p>
    </${Confirm}>`}
  </div>`;
}

/** Delete on the node and tell the views; throws with what failed, after the rest is done. */
export async function deleteImages(images, changes) {
  const failures = await forEach(images, async (image) => {
    await api.deleteImage(image.id);
    changes.tell("deleted", image);
  });
  throwFailures(failures, "deleted");
}

function throwFailures(failures, verb) {
  if (!failures.length) return;
  const [[image, error]] = failures;
  const others = failures.length > 1 ? ` (and ${failures.length - 1} more)` : "";
  throw Object.assign(new Error(`${image.filename}${others} could not be ${verb}: ${error.message}`), {
    remedy: error.remedy,
    requestId: error.requestId,
  });
}

/** Names that some image of the selection carries, each with how many do. */
function tagNames(images) {
  const names = new Map();
  for (const { tags } of images) {
    for (const name of Object.keys(tags)) names.set(name, (names.get(name) ?? 0) + 1);
  }
  return [...names].sort();
}

function TagDialog({ images, onClose }) {
  const { changes, announce } = useConsole();
  const [added, setAdded] = useState({});
  const [removed, setRemoved] = useState(() => new Set());
  const [state, setState] = useState({ busy: false, error: null });
  const nothing = !Object.keys(added).length && !removed.size;

  const toggle = (name) => {
    const next = new Set(removed);
    if (!next.delete(name)) next.add(name);
    setRemoved(next);
  };
  const save = async () => {
    setState({ busy: true, error: null });
    try {
      await changeTags(images, { added, removed, changes });
      announce(`Tags changed on ${plural(images.length, "image")}.`);
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };

  return html`<${Dialog} title=${`Tag ${plural(images.length, "image")}`} onClose=${onClose}>
    <div class="dialog-body">
      <${TagEditor} tags=${added} onChange=${setAdded} disabled=${state.busy} label="Tags to add" autofocus />
      ${tagNames(images).length > 0 && html`<fieldset class="plain">
        <legend class="hint">Remove from all of them</legend>
        ${tagNames(images).map(([name, count]) => html`<label key=${name} class="check">
          <input type="checkbox" checked=${removed.has(name)} onChange=${() => toggle(name)} />
          <span>${name} <span class="faint num">on ${count}</span></span>
        </label>`)}
      </fieldset>`}
      ${state.error && html`<${ErrorNotice} error=${state.error} />`}
    </div>
    <footer class="dialog-foot">
      <button class="button" onClick=${onClose}>Cancel</button>
      <button class="button primary" disabled=${nothing || state.busy} onClick=${save}>Change tags</button>
    </footer>
  </${Dialog}>`;
}

async function changeTags(images, { added, removed, changes }) {
  const failures = await forEach(images, async (image) => {
    const kept = Object.entries(image.tags).filter(([name]) => !removed.has(name));
    const { data } = await api.changeImage(image.id, { tags: { ...Object.fromEntries(kept), ...added } });
    changes.tell("changed", data);
  });
  throwFailures(failures, "tagged");
}
