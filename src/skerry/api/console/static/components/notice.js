/** What a view shows when it has an error, nothing yet, or nothing at all. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { useConsole } from "../lib/context.js";
import { Icon } from "./icons.js";

/** Says what happened and what to do; the request id ties it to the node's log. */
export function ErrorNotice({ error, onRetry, title, retryLabel = "Try again" }) {
  const remedy = remedyOf(error);
  return html`<div class="notice notice-error" role="alert">
    <${Icon} name="alert" />
    <div class="notice-body">
      <p class="notice-title">${title ? `${title} ${error.message}` : error.message}</p>
      ${remedy && html`<p>${remedy}</p>`}
      ${error.requestId && html`<p class="faint small">Request <code>${error.requestId}</code></p>`}
    </div>
    ${onRetry && html`<button class="button" onClick=${onRetry}>${retryLabel}</button>`}
  </div>`;
}

/** A program reads when to come back in a header; people are told. */
function remedyOf({ code, remedy, retryAfterS }) {
  if (!retryAfterS) return remedy;
  const when = `Try again in ${retryAfterS} s.`;
  return code === "overloaded" ? when : `${remedy} ${when}`.trim();
}

/** An error of a request that is made again by itself once the node is back and ready. */
export function RetriedError({ error, onRetry }) {
  const { outage, status } = useConsole();
  const ready = !outage && Boolean(status?.ready);
  const [waiting] = useState(error.unreachable || (error.status === 503 && !ready));
  useEffect(() => {
    if (waiting && ready) onRetry();
  }, [waiting, ready]);
  // The page's head says already that the node is gone, and what to do.
  if (waiting) return html`<${Loading} label="Waiting for the node" />`;
  return html`<${ErrorNotice} error=${error} onRetry=${onRetry} />`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p><div class="faint">${children}</div></div>`;
}

export function Loading({ label = "Loading" }) {
  return html`<div class="loading" role="status"><span class="spinner"></span><span>${label}…</span></div>`;
}
