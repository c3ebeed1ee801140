/** The page's head: where one is, how the node is, who is signed in. */

import { html, useState } from "../vendor/htm-preact.js";
import { Icon, Mark } from "./icons.js";

const VIEWS = [
  ["recognize", "Recognise", "photo"],
  ["collection", "Collection", "grid"],
  ["documents", "Documents", "documents"],
  ["chat", "Chat", "chat"],
  ["text", "Text", "text"],
  ["live", "Live", "pulse"],
];

export function Header({ view, session, node, onSignOut }) {
  return html`<header class="top">
    <a class="brand" href="#/recognize" aria-label="Skerry, start page"><${Mark} /><span>Skerry</span></a>
    ${session && html`<nav class="tabs" aria-label="Views">
      ${VIEWS.map(([name, title, icon]) => html`<a key=${name} class="tab" href=${`#/${name}`}
        aria-current=${view === name ? "page" : undefined}><${Icon} name=${icon} /><span>${title}</span></a>`)}
    </nav>`}
    <span class="spacer"></span>
    ${session && html`<${NodeState} node=${node} />`}
    ${session && !session.open && html`<${SignedIn} session=${session} onSignOut=${onSignOut} />`}
  </header>`;
}

/** One word for the node's health; the Live view has the rest. */
export function nodeState({ status, error }) {
  if (error) return error.unreachable ? ["bad", "Offline"] : ["bad", "Trouble"];
  if (!status) return ["wait", "Connecting"];
  // A part that is not required, such as the text models, has its say in the Live view.
  const parts = Object.values(status.parts).filter(({ required }) => required !== false);
  if (parts.some(({ state }) => state === "failed")) return ["bad", "Trouble"];
  if (!status.ready) return ["wait", "Starting"];
  if (status.index.state !== "ready") return ["wait", "Indexing"];
  return ["good", "Ready"];
}

function NodeState({ node }) {
  const [tone, word] = nodeState(node);
  return html`<a class=${`node-state ${tone}`} href="#/live"><span class="dot"></span><span class="visually-hidden">Node: </span>${word}</a>`;
}

function SignedIn({ session, onSignOut }) {
  const [failed, setFailed] = useState(false);
  const signOut = () => onSignOut().catch(() => setFailed(true));
  return html`<span class="signed-in">
    <${Icon} name="key" size="16" /><span class="signed-name">${session.name}</span><span class="chip">${session.scope}</span>
    <button class="button quiet" aria-label="Sign out" onClick=${signOut}><${Icon} name="signOut" size="18" /><span>${failed ? "Try again" : "Sign out"}</span></button>
  </span>`;
}
