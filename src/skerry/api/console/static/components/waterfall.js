/** Where the milliseconds went: the stages of one answer, one after the other. */

import { html } from "../vendor/htm-preact.js";
import { milliseconds } from "../lib/format.js";

const STAGES = [
  ["cache", "Cache", "look for this photo's features"],
  ["decode", "Decode", "photo to pixels"],
  ["queue", "Queue", "wait for the engine"],
  ["inference", "Inference", "pixels to labels and features"],
  ["search", "Search", "find the most similar photos"],
  ["metadata", "Metadata", "read who, when and tags"],
];
const SKIPPED_BY_HIT = new Set(["decode", "queue", "inference"]);

/** Rows of `{key, name, title, ms, startMs, skipped}`; the node's stages run one after the other. */
export function waterfallRows(stages, { hit }) {
  let clock = 0;
  return STAGES.map(([key, name, title]) => {
    const ms = stages[key] ?? null;
    const startMs = clock;
    clock += ms ?? 0;
    return { key, name, title, ms, startMs, skipped: !ms && hit && SKIPPED_BY_HIT.has(key) };
  });
}

export function Waterfall({ answer }) {
  const { stages, cache, model, elapsedMs } = answer;
  const total = stages.total ?? answer.total_time_ms;
  const hit = cache === "hit";
  const rows = waterfallRows(stages, { hit });
  const span = Math.max(total, rows.at(-1).startMs + (rows.at(-1).ms ?? 0));
  return html`<div class="waterfall">
    <p class="waterfall-total">
      <strong class="num">${milliseconds(total)}</strong> on the node
      <span class=${hit ? "chip hit" : "chip"}>cache ${cache}</span>
    </p>
    <ol class="stages">
      ${rows.map((row) => html`<${Stage} key=${row.key} row=${row} span=${span} />`)}
    </ol>
    <dl class="facts">
      <dt>Model</dt><dd>${model.name}</dd>
      <dt>Precision</dt><dd>${model.precision.toUpperCase()}</dd>
      <dt title="Upload and answer, as this browser saw them">Round trip</dt>
      <dd class="num">${milliseconds(elapsedMs)}</dd>
    </dl>
  </div>`;
}

function Stage({ row, span }) {
  const place = { left: `${(row.startMs / span) * 100}%`, width: `${((row.ms ?? 0) / span) * 100}%` };
  return html`<li class=${`stage stage-${row.key}`} title=${row.title}>
    <span class="stage-name">${row.name}</span>
    <span class="stage-track">${row.ms != null && !row.skipped && html`<span class="stage-fill" style=${place}></span>`}</span>
    <span class="stage-value num">${row.skipped ? html`<span class="faint">skipped</span>` : milliseconds(row.ms)}</span>
  </li>`;
}

export function WaterfallSkeleton() {
  return html`<div class="waterfall" aria-hidden="true">
    <p class="waterfall-total"><span class="ghost"></span></p>
    <ol class="stages">
      ${STAGES.map(([key, name]) => html`<li key=${key} class="stage">
        <span class="stage-name faint">${name}</span><span class="stage-track"></span><span class="stage-value"> </span>
      </li>`)}
    </ol>
    <dl class="facts"><dt>Model</dt><dd> </dd><dt>Precision</dt><dd> </dd><dt>Round trip</dt><dd> </dd></dl>
  </div>`;
}
