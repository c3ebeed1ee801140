/** Store the photo just recognised: suggested tags at one click, or tags of one's own. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { useConsole } from "../lib/context.js";
import { percent, plural } from "../lib/format.js";
import { changeQuery } from "../lib/route.js";
import { Icon } from "./icons.js";
import { ErrorNotice } from "./notice.js";
import { TagChips, TagEditor, TagText } from "./tags.js";

export function StorePanel({ recognition }) {
  const { can, announce, changes } = useConsole();
  const [tags, setTags] = useState({});
  const [state, setState] = useState({ busy: false, error: null });
  const { answer, stored, file } = recognition;
  const waiting = state.busy || !answer; // The panel keeps its place while the answer is on its way.

  useEffect(() => {
    setTags({});
    setState({ busy: false, error: null });
  }, [file]);

  const store = async (withTags) => {
    setState({ busy: true, error: null });
    try {
      const image = await recognition.store(recognition, { tags: withTags });
      changes.tell(image.status === "created" ? "stored" : "changed", image);
      setTags({});
      setState({ busy: false, error: null });
      announce(`Stored as image ${image.id}.`);
    } catch (error) {
      setState({ busy: false, error });
    }
  };

  if (!can("write")) {
    return html`<p class="hint recognition-store">Signed in with a key that may not store photos.</p>`;
  }
  return html`<section class="card store" aria-labelledby="store-title">
    <h2 id="store-title" class="card-title">${stored ? "In the collection" : "Store this photo"}</h2>
    ${stored && html`<${StoredLine} stored=${stored} />`}
    <${Suggestions} suggestions=${answer?.suggested_tags ?? []} current=${stored?.tags ?? {}} busy=${waiting}
      stored=${Boolean(stored)} onTake=${({ name, value }) => store({ ...tags, [name]: value })} />
    <${TagEditor} tags=${tags} onChange=${setTags} disabled=${waiting} />
    ${state.error && html`<${ErrorNotice} error=${state.error} />`}
    ${(!stored || Object.keys(tags).length > 0) && html`<button class="button primary wide" disabled=${waiting}
      onClick=${() => store(tags)}>
      <${Icon} name=${stored ? "tag" : "plus"} /> ${stored ? "Add these tags" : "Store this photo"}
    </button>`}
  </section>`;
}

function StoredLine({ stored }) {
  return html`<p class="stored-line">
    <${Icon} name="check" />
    <span>${stored.status === "created" ? "Stored as" : "Already here as"}${" "}
      <button class="link" onClick=${() => changeQuery({ image: stored.id })}>image ${stored.id}</button></span>
    <${TagChips} tags=${stored.tags} />
  </p>`;
}

function Suggestions({ suggestions, current, busy, stored, onTake }) {
  const open = suggestions.filter(({ name }) => !(name in current));
  if (!open.length) return null;
  return html`<div class="suggestions">
    <p class="hint">Suggested by the most similar photos. One click ${stored ? "adds the tag" : "stores the photo with the tag"}.</p>
    <ul>
      ${open.slice(0, 6).map((tag) => html`<li key=${`${tag.name}=${tag.value}`}>
        <button class="suggestion" disabled=${busy} onClick=${() => onTake(tag)}>
          <span class="suggestion-tag"><${TagText} name=${tag.name} value=${tag.value} /></span>
          <span class="suggestion-why num">${percent(tag.confidence)}, ${plural(tag.votes, "vote")}</span>
        </button>
      </li>`)}
    </ul>
  </div>`;
}
