/** Everything about one stored image, in a panel at the side. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { api, imageUrl } from "../api.js";
import { useConsole } from "../lib/context.js";
import { bytes, dateTime, integer } from "../lib/format.js";
import { changeQuery, navigate } from "../lib/route.js";
import { LabelBars } from "./bars.js";
import { Confirm, Dialog } from "./dialog.js";
import { Gallery, GallerySkeleton } from "./gallery.js";
import { Icon } from "./icons.js";
import { ErrorNotice, Loading } from "./notice.js";
import { deleteImages } from "./selection.js";
import { TagChips, TagEditor } from "./tags.js";

const SIMILAR = 6;
const close = () => changeQuery({ image: "" });

/** `id` comes from the page's address; a change of it shows the next image in the same panel. */
export function Detail({ id, onRecognize }) {
  const [state, setState] = useState({ image: null, error: null });
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    const abort = new AbortController();
    setState({ image: null, error: null });
    api.image(id, abort.signal)
      .then(({ data }) => setState({ image: data, error: null }))
      .catch((error) => !abort.signal.aborted && setState({ image: null, error }));
    return () => abort.abort();
  }, [id, attempt]);

  const { image, error } = state;
  return html`<${Dialog} panel title=${image ? image.filename || `Image ${image.id}` : "Image"} onClose=${close}>
    <div class="dialog-body">
      ${error && html`<${ErrorNotice} error=${error} onRetry=${() => setAttempt(attempt + 1)} />`}
      ${!image && !error && html`<${Loading} label="Loading the image" />`}
      ${image && html`<${Facts} key=${image.id} image=${image} onRecognize=${onRecognize}
        onChanged=${(changed) => setState({ image: changed, error: null })} />`}
    </div>
  </${Dialog}>`;
}

function Facts({ image, onChanged, onRecognize }) {
  const { can } = useConsole();
  return html`
    <a class="detail-photo" href=${imageUrl.original(image.id)} target="_blank" rel="noopener" title="Open the original file">
      <img src=${imageUrl.thumbnail(image.id, 1024)} width=${image.width} height=${image.height} alt=${`The photo ${image.filename}`} />
    </a>
    <div class="detail-actions">
      <a class="button" href=${imageUrl.original(image.id)} target="_blank" rel="noopener">
        <${Icon} name="external" /> Original file
      </a>
      ${can("infer") && html`<button class="button" onClick=${() => recognizeAgain(image, onRecognize)}>
        <${Icon} name="photo" /> Recognise
      </button>`}
      ${can("write") && html`<${DeleteButton} image=${image} />`}
    </div>
    <section><h3 class="card-title">Tags</h3><${Tags} image=${image} onChanged=${onChanged} /></section>
    ${image.labels.length > 0 && html`<section><h3 class="card-title">What it is</h3><${LabelBars} labels=${image.labels} compact /></section>`}
    <section><h3 class="card-title">Facts</h3><${Metadata} image=${image} /></section>
    ${can("infer") && html`<section><h3 class="card-title">Most like it</h3><${Similar} image=${image} /></section>`}`;
}

function recognizeAgain(image, onRecognize) {
  navigate("recognize");
  onRecognize(image);
}

function DeleteButton({ image }) {
  const { changes, announce } = useConsole();
  const [asking, setAsking] = useState(false);
  const remove = async () => {
    await deleteImages([image], changes);
    announce(`${image.filename} deleted.`);
    close();
  };
  return html`<button class="button danger-quiet" onClick=${() => setAsking(true)}><${Icon} name="trash" /> Delete…</button>
    ${asking && html`<${Confirm} title="Delete this image?" action="Delete" onConfirm=${remove} onClose=${() => setAsking(false)}>
      <p>${image.filename}, its tags and its place in every search are removed. This can't be undone.</p>
    </${Confirm}>`}`;
}

function Tags({ image, onChanged }) {
  const { can, changes } = useConsole();
  const [state, setState] = useState({ busy: false, error: null });
  if (!can("write")) {
    return Object.keys(image.tags).length ? html`<${TagChips} tags=${image.tags} />` : html`<p class="faint">None</p>`;
  }
  const save = async (tags) => {
    setState({ busy: true, error: null });
    try {
      const { data } = await api.changeImage(image.id, { tags });
      changes.tell("changed", data);
      onChanged(data);
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${TagEditor} tags=${image.tags} onChange=${save} disabled=${state.busy} />
    ${state.error && html`<${ErrorNotice} error=${state.error} />`}`;
}

function Metadata({ image }) {
  return html`<dl class="facts">
    <dt>Id</dt><dd class="num">${image.id}</dd>
    <dt>Stored</dt><dd>${dateTime(image.created_at)}</dd>
    <dt>Stored by</dt><dd>${image.uploaded_by || html`<span class="faint">not said</span>`}</dd>
    <dt>Size</dt><dd class="num">${integer(image.width)} × ${integer(image.height)}, ${bytes(image.bytes)}</dd>
    <dt>Type</dt><dd>${image.media_type}</dd>
    <dt>SHA-256</dt><dd><code class="hash">${image.sha256}</code></dd>
  </dl>`;
}

function Similar({ image }) {
  const [state, setState] = useState({ images: null, error: null });
  useEffect(() => {
    const abort = new AbortController();
    // One more than shown: the image itself is its own nearest.
    api.similarTo(image.id, SIMILAR + 1, abort.signal)
      .then(({ data }) => setState({ images: data.similar_images.filter(({ id }) => id !== image.id).slice(0, SIMILAR), error: null }))
      .catch((error) => !abort.signal.aborted && setState({ images: null, error }));
    return () => abort.abort();
  }, [image.id]);
  if (state.error) return html`<${ErrorNotice} error=${state.error} />`;
  if (!state.images) return html`<${GallerySkeleton} count=${SIMILAR} />`;
  if (!state.images.length) return html`<p class="faint">It is the only image here.</p>`;
  return html`<${Gallery} images=${state.images} />`;
}
