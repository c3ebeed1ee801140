/** A question and its answer, as they were said, and what the answer took. */

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { figuresOf } from "../lib/chat.js";
import { integer, milliseconds, plural, rate } from "../lib/format.js";
import { ErrorNotice, RetriedError } from "./notice.js";

const TICK_MS = 100;

export function Turn({ turn, onRetry, onNew }) {
  const { question, answer, phase, error, model } = turn;
  return html`<li class="turn">
    <div class="said said-question"><h2 class="visually-hidden">You</h2><p class="said-text" dir="auto">${question}</p></div>
    <div class="said said-answer" aria-busy=${phase === "waiting" || phase === "writing"}>
      <h2 class="said-by">${model}</h2>
      ${answer && html`<p class="said-text" dir="auto">${answer}${phase === "writing" && html`<span class="caret" aria-hidden="true"></span>`}</p>`}
      ${phase === "waiting" ? html`<${Waiting} since=${turn.sentMs} />` : html`<${Figures} turn=${turn} />`}
      ${error && html`<${Failure} turn=${turn} onRetry=${onRetry} onNew=${onNew} />`}
    </div>
  </li>`;
}

/** The clock until the first token: long prompts take their time to be read. */
function Waiting({ since }) {
  const [nowMs, setNowMs] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(performance.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="figures faint num"><span class="spinner"></span><span>Waiting for the first token, ${((nowMs - since) / 1000).toFixed(1)} s</span></p>`;
}

function Figures({ turn }) {
  const { tokens, exact, firstMs, tokensPerS } = figuresOf(turn);
  const about = exact ? "" : "≈ ";
  const end = ending(turn);
  if (!tokens && !end) return null;
  return html`<ul class="figures faint num" aria-label="Figures of the answer">
    ${tokens > 0 && html`<li>${about}${plural(tokens, "token")}</li>`}
    ${tokensPerS && html`<li>${about}${rate(tokensPerS)} tokens/s</li>`}
    ${firstMs != null && html`<li>first after ${milliseconds(firstMs)}</li>`}
    ${turn.usage && html`<li>prompt ${plural(turn.usage.prompt_tokens, "token")}${reused(turn.usage)}</li>`}
    ${end && html`<li class="ending">${end}</li>`}
  </ul>`;
}

function reused({ prompt_tokens_details: details }) {
  return details?.cached_tokens ? `, ${integer(details.cached_tokens)} of them known` : "";
}

/** Why an answer ended where the model itself would have gone on. */
function ending({ phase, reason, answer }) {
  if (phase === "stopped") return answer ? "stopped by you" : "stopped before it began";
  if (phase === "done" && reason === "length") return "cut at the token limit (see Settings)";
  if (phase === "done" && !answer) return "the model said nothing";
  return "";
}

function Failure({ turn: { error, answer }, onRetry, onNew }) {
  if (error.code === "context_length_exceeded") {
    return html`<${ErrorNotice} error=${error} onRetry=${onNew} retryLabel="New chat" />`;
  }
  if (answer) return html`<${ErrorNotice} error=${error} onRetry=${onRetry} />`;
  return html`<${RetriedError} error=${error} onRetry=${onRetry} />`;
}
