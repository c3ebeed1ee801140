/** The stored documents: search them, ask them, add to them. */

import { html } from "../vendor/htm-preact.js";
import { Ask } from "../components/documents/ask.js";
import { Library } from "../components/documents/library.js";
import { DocumentPanel } from "../components/documents/panel.js";
import { Search } from "../components/documents/search.js";
import { Icon } from "../components/icons.js";
import { Empty } from "../components/notice.js";
import { useConsole } from "../lib/context.js";
import { percent, plural } from "../lib/format.js";
import { hashOf } from "../lib/route.js";

const PARTS = [["search", "Search", "search"], ["ask", "Ask", "question"], ["library", "Library", "folder"]];

export function DocumentsView({ query, asking, onFiles }) {
  const { can, status } = useConsole();
  const part = PARTS.some(([name]) => name === query.part) ? query.part : "search";
  return html`
    <header class="view-head">
      <h1 class="view-title">Documents</h1>
      <p class="faint num view-count" role="status">${status ? said(status.documents) : " "}</p>
      <span class="spacer"></span>
      <${Parts} part=${part} query=${query} />
    </header>
    ${part === "library" && html`<${Library} query=${query} onFiles=${onFiles} />`}
    ${part !== "library" && !can("infer") && html`<${Empty} title="This key may look, but not ask">
      <p>Searching and asking need a key of scope infer.</p></${Empty}>`}
    ${part === "search" && can("infer") && html`<${Search} query=${query} />`}
    ${part === "ask" && can("infer") && html`<${Ask} query=${query} asking=${asking} />`}
    ${query.document && html`<${DocumentPanel} id=${query.document} from=${query.from} to=${query.to} />`}`;
}

function said({ count, chunks, index }) {
  const stored = `${plural(count, "document")}, ${plural(chunks, "passage")}`;
  return index.state === "ready" || !count ? stored : `${stored}, indexing ${percent(index.progress)}`;
}

/** The parts keep each other's filters and words. */
function Parts({ part, query: { q, mode, category, group } }) {
  return html`<nav class="doc-parts" aria-label="Documents">
    ${PARTS.map(([name, title, icon]) => html`<a key=${name} class="doc-part" aria-current=${name === part ? "page" : undefined}
      href=${hashOf("documents", { part: name, q, mode, category, group })}><${Icon} name=${icon} size="18" /> ${title}</a>`)}
  </nav>`;
}
