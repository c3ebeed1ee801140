/** Similar images: each with its likeness, name, owner, date and tags. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { api, imageUrl } from "../api.js";
import { forEach } from "../lib/collection.js";
import { ago, dateTime, share } from "../lib/format.js";
import { changeQuery } from "../lib/route.js";
import { TagChips } from "./tags.js";

export function Gallery({ images, sameId = null }) {
  const tags = useTags(images);
  return html`<ul class="gallery">
    ${images.map((image) => html`<li key=${image.id}>
      <button class="card-button" onClick=${() => changeQuery({ image: image.id })}>
        <span class="thumb"><img src=${imageUrl.thumbnail(image.id)} alt="" loading="lazy" decoding="async" /></span>
        <span class="gallery-score num">
          ${share(image.similarity_score)}${image.id === sameId && html`<span class="chip hit">this photo</span>`}
        </span>
        <span class="gallery-meter"><span style=${{ transform: `scaleX(${Math.max(0, image.similarity_score)})` }}></span></span>
        <span class="gallery-name" title=${image.filename}>${image.filename}</span>
        <span class="faint small" title=${dateTime(image.created_at)}>
          ${image.uploaded_by ? `${image.uploaded_by}, ` : ""}${ago(image.created_at)}
        </span>
        <${TagChips} tags=${image.tags ?? tags[image.id]} />
      </button>
    </li>`)}
  </ul>`;
}

/** The answer of a search names no tags; they are read once the pictures stand. */
function useTags(images) {
  const [tags, setTags] = useState({});
  const key = images.map(({ id }) => id).join();
  useEffect(() => {
    const abort = new AbortController();
    forEach(images.filter((image) => !image.tags), async ({ id }) => {
      const { data } = await api.image(id, abort.signal);
      setTags((now) => ({ ...now, [id]: data.tags }));
    });
    return () => abort.abort();
  }, [key]);
  return tags;
}

export function GallerySkeleton({ count = 6 }) {
  return html`<ul class="gallery" aria-hidden="true">
    ${Array.from({ length: count }, (_, index) => html`<li key=${index}>
      <span class="card-button"><span class="thumb"></span><span class="gallery-score"> </span>
      <span class="gallery-meter"></span><span class="gallery-name"><span class="ghost"></span></span></span>
    </li>`)}
  </ul>`;
}
