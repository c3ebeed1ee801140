/** An answer from the documents, as it is written, with its sources. */

import { html, useMemo } from "../../vendor/htm-preact.js";
import { partsOf } from "../../lib/asking.js";
import { milliseconds, share } from "../../lib/format.js";
import { changeQuery } from "../../lib/route.js";
import { Icon } from "../icons.js";
import { ErrorNotice, Loading, RetriedError } from "../notice.js";
import { placeOf, titleOf } from "./marked.js";

const open = ({ id, start, end }) => changeQuery({ document: id, from: start, to: end });

export function Answer({ turn, onRetry }) {
  const { question, phase, text, sources, reply, error, category } = turn;
  return html`<section class="card answer" aria-label="Answer" aria-busy=${phase === "waiting" || phase === "writing"}>
    <h2 class="answer-question" dir="auto">${question}${category && html` <span class="chip tag">${category}</span>`}</h2>
    ${phase === "waiting" && !sources.length && html`<${Loading} label="Reading the documents" />`}
    ${reply?.declined && html`<${Declined} reason=${reply.reason} />`}
    ${reply?.answer ? html`<${Whole} reply=${reply} />` : text && html`<p class="said-text" dir="auto">${text}<span class="caret" aria-hidden="true"></span></p>`}
    ${phase === "stopped" && html`<p class="faint small">Stopped by you.</p>`}
    ${error && (text ? html`<${ErrorNotice} error=${error} onRetry=${onRetry} />` : html`<${RetriedError} error=${error} onRetry=${onRetry} />`)}
    ${sources.length > 0 && html`<${Sources} sources=${sources} mode=${turn.mode} />`}
    ${reply && html`<${Figures} reply=${reply} />`}
  </section>`;
}

function Declined({ reason }) {
  return html`<div class="notice declined">
    <${Icon} name="question" />
    <div class="notice-body"><p class="notice-title">The documents don’t answer this.</p><p>${reason}</p></div>
  </div>`;
}

/** The answer with the number of each source after what rests on it. */
function Whole({ reply }) {
  const { answer, sources, unsupported } = reply;
  const parts = useMemo(() => partsOf([...answer], reply), [reply]);
  return html`
    <p class="said-text answer-text" dir="auto">${parts.map((part) => html`
      ${part.unsupported ? html`<span class="unsupported">${part.text}</span>` : part.text}
      ${part.sources.map((number) => html`<button class="cited" aria-label=${`Source ${number}`} title=${titleOf(sources[number - 1])}
        onClick=${() => open(sources[number - 1])}>${number}</button>`)}`)}</p>
    ${unsupported.length > 0 && html`<p class="small faint"><span class="unsupported">Underlined</span>: nothing in the sources supports it.</p>`}`;
}

function Sources({ sources, mode }) {
  return html`<section class="sources" aria-labelledby="sources-title">
    <h3 id="sources-title" class="card-title">${mode === "generate" ? "Passages that were read" : "Quoted from"}</h3>
    <ol>
      ${sources.map((source, place) => html`<li key=${`${source.chunk}-${source.start}`} class="source">
        <span class="source-number num" aria-hidden="true">${place + 1}</span>
        <button class="link source-title" onClick=${() => open(source)}>${titleOf(source)}</button>
        <span class="small faint source-place">${placeOf(source)}</span>
        <blockquote class="quote" dir="auto">${source.text}</blockquote>
      </li>`)}
    </ol>
  </section>`;
}

function Figures({ reply: { mode, model, declined, chance, finish_reason: reason, total_time_ms: totalMs } }) {
  return html`<ul class="figures faint num" aria-label="Figures of the answer">
    ${!declined && html`<li>${mode === "generate" ? `phrased by ${model ?? "the language model"}` : "in the documents’ own words"}</li>`}
    ${chance != null && html`<li>chance that it is answered ${share(chance)}</li>`}
    ${reason === "length" && html`<li class="ending">cut at the token limit</li>`}
    <li>${milliseconds(totalMs)} on the node</li>
  </ul>`;
}
