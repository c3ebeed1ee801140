/** The first screen: a photo goes in; what it is, what is like it, and the time of each stage come out. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api, imageUrl } from "../api.js";
import { LabelBars, LabelBarsSkeleton } from "../components/bars.js";
import { CameraDialog, cameraAvailable } from "../components/camera.js";
import { FileButton } from "../components/choose.js";
import { Gallery, GallerySkeleton } from "../components/gallery.js";
import { Icon, Seascape } from "../components/icons.js";
import { Empty, ErrorNotice, RetriedError } from "../components/notice.js";
import { Photo } from "../components/photo.js";
import { StorePanel } from "../components/store.js";
import { Waterfall, WaterfallSkeleton } from "../components/waterfall.js";
import { useConsole } from "../lib/context.js";
import { pastedFiles } from "../lib/files.js";
import { labelParts, milliseconds, plural, share } from "../lib/format.js";
import { navigate } from "../lib/route.js";

const RECENT = 8;

export function RecognizeView({ recognition, onFiles }) {
  const { can, announce } = useConsole();
  const { phase, answer } = recognition;

  useEffect(() => {
    const onPaste = (event) => {
      const files = pastedFiles(event);
      if (files.length) onFiles(files);
    };
    addEventListener("paste", onPaste);
    return () => removeEventListener("paste", onPaste);
  }, [onFiles]);

  useEffect(() => {
    if (phase === "working") announce("Recognising the photo.");
    if (phase === "done") announce(spoken(answer));
  }, [phase, answer]);

  if (!can("infer")) {
    return html`<h1 class="view-title">Recognise</h1>
      <${Empty} title="This key may look, but not recognise">
        <p>Recognising needs a key of scope infer. The <a href="#/collection">collection</a> and the <a href="#/live">live view</a> are open to you.</p>
      </${Empty}>`;
  }
  return phase === "idle"
    ? html`<${Start} recognition=${recognition} onFiles=${onFiles} />`
    : html`<${Result} recognition=${recognition} onFiles=${onFiles} />`;
}

/** The answer in one sentence, for a screen reader. */
function spoken({ labels, similar_images: similar, total_time_ms: total }) {
  const first = labels[0];
  const what = first ? `${labelParts(first.label)[0]}, ${share(first.probability)}.` : "No label.";
  return `${what} ${plural(similar.length, "similar image")}. ${milliseconds(total)} on the node.`;
}

function Start({ recognition, onFiles }) {
  return html`<h1 class="visually-hidden">Recognise a photo</h1>
    <section class="dropzone" aria-label="Give a photo">
      <${Seascape} />
      <p class="dropzone-title"><span class="only-mouse">Drop a photo</span><span class="only-touch">Take or choose a photo</span></p>
      <p class="faint">See what it is and which stored photos are most like it. The photo stays on this node.</p>
      <div class="dropzone-actions"><${PhotoButtons} onFiles=${onFiles} /></div>
      <p class="faint small paste-hint">or paste one with <kbd>Ctrl</kbd> <kbd>V</kbd></p>
    </section>
    <${Recent} recognition=${recognition} />`;
}

function PhotoButtons({ onFiles, again = false }) {
  const [camera, setCamera] = useState(false);
  const live = cameraAvailable();
  return html`
    <${FileButton} primary=${!again} label="Photo to recognise" accept="image/*" onFiles=${onFiles}>
      <${Icon} name="photo" /> ${again ? "New photo" : "Choose a photo"}
    </${FileButton}>
    ${live
      ? html`<button type="button" class="button" onClick=${() => setCamera(true)}><${Icon} name="camera" /> ${again ? "Camera" : "Use the camera"}</button>`
      : html`<${FileButton} label="Photo from the camera" accept="image/*" capture="environment" onFiles=${onFiles}>
          <${Icon} name="camera" /> ${again ? "Camera" : "Use the camera"}
        </${FileButton}>`}
    ${camera && html`<${CameraDialog} onPhoto=${(photo) => onFiles([photo])} onClose=${() => setCamera(false)} />`}`;
}

/** Newest stored photos to try, or how to get some. */
function Recent({ recognition }) {
  const { status } = useConsole();
  const [images, setImages] = useState(null);
  const count = status?.images;

  useEffect(() => {
    const abort = new AbortController();
    api.images({ limit: RECENT }, abort.signal).then(({ data }) => setImages(data.images)).catch(() => {
      // The header already says that the node is gone; this row is only an offer.
    });
    return () => abort.abort();
  }, [count]);

  if (images && !images.length) {
    return html`<section class="first-run" aria-labelledby="first-run-title">
      <h2 id="first-run-title" class="card-title">Nothing is stored yet</h2>
      <p>Photos are recognised right away. To find similar ones, the node needs some to compare with:</p>
      <ul>
        <li><a href="#/collection">Add a folder of photos</a> in the collection, or</li>
        <li>run <code>skerry demo</code> on this machine for a handful of sample photos.</li>
      </ul>
    </section>`;
  }
  return html`<section class="recent" aria-labelledby="recent-title">
    <h2 id="recent-title" class="card-title">Or try one that is stored</h2>
    <ul class="recent-list">
      ${(images ?? Array.from({ length: RECENT })).map((image, index) => html`<li key=${image?.id ?? index}>
        ${image
          ? html`<button class="recent-button" title=${image.filename} aria-label=${`Recognise ${image.filename}`}
              onClick=${() => recognition.recognizeStored(image)}>
              <span class="thumb"><img src=${imageUrl.thumbnail(image.id)} alt="" decoding="async" /></span>
            </button>`
          : html`<span class="thumb"></span>`}
      </li>`)}
    </ul>
  </section>`;
}

function Result({ recognition, onFiles }) {
  const { phase, file, url, answer, error, stored } = recognition;
  const heading = useRef(null);
  useEffect(() => heading.current.focus({ preventScroll: true }), [file]);
  const busy = phase === "working";
  const again = () => recognition.recognize(file, { keepPhoto: true });
  const retry = file && (error?.unreachable || error?.retryAfterS) ? again : null;

  return html`<h1 ref=${heading} tabindex="-1" class="visually-hidden">What the node sees</h1>
    <div class="recognition">
      <div class="recognition-left">
        <section class="card recognition-photo" aria-label="The photo">
          ${url && html`<${Photo} key=${url} url=${url} name=${file.name} busy=${busy} />`}
          <div class="photo-actions">
            <${PhotoButtons} again onFiles=${onFiles} />
            ${file && html`<button class="button" disabled=${busy} onClick=${again}>
              <${Icon} name="refresh" /> Again
            </button>`}
          </div>
          <button class="icon-button put-away" aria-label="Put the photo away" title="Put the photo away" onClick=${recognition.clear}>
            <${Icon} name="close" />
          </button>
        </section>
        ${phase !== "failed" && html`<${StorePanel} recognition=${recognition} />`}
      </div>
      ${phase === "failed" && html`<div class="recognition-failed">
        ${retry ? html`<${RetriedError} error=${error} onRetry=${retry} />` : html`<${ErrorNotice} error=${error} />`}
      </div>`}
      ${phase !== "failed" && html`<section class="card recognition-labels" aria-labelledby="labels-title" aria-busy=${busy}>
        <h2 id="labels-title" class="card-title">What it is</h2>
        ${answer ? html`<${LabelBars} labels=${answer.labels} />` : html`<${LabelBarsSkeleton} />`}
      </section>
      <section class="card recognition-time" aria-labelledby="time-title" aria-busy=${busy}>
        <h2 id="time-title" class="card-title">Where the time went</h2>
        ${answer ? html`<${Waterfall} answer=${answer} />` : html`<${WaterfallSkeleton} />`}
      </section>
      <section class="card recognition-similar" aria-labelledby="similar-title" aria-busy=${busy}>
        <h2 id="similar-title" class="card-title">Most like it</h2>
        <${Similar} answer=${answer} stored=${stored} />
      </section>`}
    </div>`;
}

function Similar({ answer, stored }) {
  if (!answer) return html`<${GallerySkeleton} />`;
  if (!answer.similar_images.length) {
    return html`<${Empty} title="No stored photos to compare with">
      <p>Store this one, or <button class="link" onClick=${() => navigate("collection")}>add some to the collection</button>.</p>
    </${Empty}>`;
  }
  return html`<${Gallery} images=${answer.similar_images} sameId=${stored?.id} />`;
}
