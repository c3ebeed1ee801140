/** The stored images: find them, add to them, tag and delete them. */

import { html, useCallback, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { FileButton } from "../components/choose.js";
import { Filters } from "../components/filters.js";
import { Icon } from "../components/icons.js";
import { More } from "../components/more.js";
import { Empty, RetriedError } from "../components/notice.js";
import { SelectionBar } from "../components/selection.js";
import { Tile, TileSkeletons } from "../components/tile.js";
import { useChanges } from "../lib/changes.js";
import { FILTERS, useCollection } from "../lib/collection.js";
import { useConsole } from "../lib/context.js";
import { pastedFiles } from "../lib/files.js";
import { plural } from "../lib/format.js";
import { changeQuery } from "../lib/route.js";

const RELOAD_MS = 400;

export function CollectionView({ query, onFiles }) {
  const { can, changes } = useConsole();
  const collection = useCollection(query);
  const { images, total, phase, error } = collection;
  const selection = useSelection(images);
  const filtered = FILTERS.some((name) => query[name]);
  const writable = can("write");
  useFollow(changes, collection);
  usePaste(writable ? onFiles : null);

  return html`
    <header class="view-head">
      <h1 class="view-title">Collection</h1>
      <p class="faint num view-count" role="status">${total == null ? " " : count(total, filtered)}</p>
      <span class="spacer"></span>
      ${writable && html`<${AddButtons} onFiles=${onFiles} />`}
    </header>
    <${Filters} filters=${query} images=${images} />
    ${error && html`<${RetriedError} error=${error} onRetry=${collection.reload} />`}
    ${phase === "ready" && !images.length && html`<${Nothing} filtered=${filtered} writable=${writable} />`}
    <ul class="grid" aria-label="Images" aria-busy=${phase === "loading"}>
      ${images.map((image) => html`<${Tile} key=${image.id} image=${image} selectable=${writable}
        selected=${selection.ids.has(image.id)} onSelect=${selection.toggle} />`)}
      ${phase === "loading" && !images.length && html`<${TileSkeletons} />`}
    </ul>
    <${More} pages=${collection} />
    ${selection.images.length > 0 && html`<${SelectionBar} images=${selection.images}
      allLoaded=${selection.images.length === images.length} onSelectAll=${selection.all} onClear=${selection.clear} />`}`;
}

const count = (total, filtered) => `${plural(total, "image")}${filtered ? " found" : ""}`;

function AddButtons({ onFiles }) {
  return html`<div class="add-buttons">
    <${FileButton} primary label="Photos to store" accept="image/*" multiple onFiles=${onFiles}><${Icon} name="plus" /> Add photos</${FileButton}>
    <${FileButton} label="Folder to store" webkitdirectory onFiles=${onFiles}><${Icon} name="folder" /> Add a folder</${FileButton}>
  </div>`;
}

function Nothing({ filtered, writable }) {
  if (filtered) {
    return html`<${Empty} title="No image matches these filters">
      <button class="button" onClick=${() => changeQuery(Object.fromEntries(FILTERS.map((name) => [name, ""])))}>Clear the filters</button>
    </${Empty}>`;
  }
  return html`<${Empty} title="Nothing is stored yet">
    <p>${writable && "Drop photos or a folder anywhere on this page, or use the buttons above. "}
      For a handful of sample photos, run <code>skerry demo</code> on this machine.</p>
  </${Empty}>`;
}

/** Changes made anywhere in the page show here; what is new is read again in the filters' order. */
function useFollow(changes, { replace, remove, reload }) {
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  useChanges(changes, (kind, image) => {
    if (kind === "changed") replace(image);
    else if (kind === "deleted") remove(new Set([image.id]));
    else {
      clearTimeout(timer.current);
      timer.current = setTimeout(reload, RELOAD_MS);
    }
  }, [reload]);
}

function usePaste(onFiles) {
  useEffect(() => {
    if (!onFiles) return undefined;
    const onPaste = (event) => {
      const files = pastedFiles(event);
      if (files.length) onFiles(files);
    };
    addEventListener("paste", onPaste);
    return () => removeEventListener("paste", onPaste);
  }, [onFiles]);
}

/** The chosen ids; those that left the list leave the selection too. */
function useSelection(images) {
  const [ids, setIds] = useState(() => new Set());
  const last = useRef(null);
  const chosen = useMemo(() => images.filter(({ id }) => ids.has(id)), [images, ids]);

  const toggle = useCallback((id, { range }) => {
    setIds((now) => {
      const next = new Set(now);
      if (range && last.current != null) between(images, last.current, id).forEach((other) => next.add(other));
      else if (!next.delete(id)) next.add(id);
      last.current = id;
      return next;
    });
  }, [images]);

  const all = () => setIds(new Set(images.map(({ id }) => id)));
  const clear = () => setIds(new Set());
  return { ids, images: chosen, toggle, all, clear };
}

function between(images, first, second) {
  const places = [first, second].map((id) => images.findIndex((image) => image.id === id)).sort((a, b) => a - b);
  return images.slice(Math.max(places[0], 0), places[1] + 1).map(({ id }) => id);
}
