/** The language model at work: its slots, its queue and its pace, as long as the node has one. */

import { html } from "../vendor/htm-preact.js";
import { rate } from "../lib/format.js";
import { Chart } from "./chart.js";

const CHARTS = [
  {
    title: "Chat slots",
    format: (value) => (value == null ? "–" : value.toFixed(0)),
    series: [
      { name: "in use", tone: "tone-1", value: ({ status }) => status.generation?.busy },
      { name: "waiting", tone: "tone-2", value: ({ status }) => status.generation?.queued },
    ],
  },
  {
    title: "Tokens written",
    format: (value) => (value == null ? "–" : `${rate(value)} /s`),
    floor: 10,
    series: [{ name: "all slots", tone: "tone-1", value: ({ status }) => status.generation?.tokens_per_s }],
  },
];

export function Generation({ generation, history }) {
  return html`
    ${CHARTS.map((chart) => html`<${Chart} key=${chart.title} history=${history} floor=${generation.slots} ...${chart} />`)}
    <section class="card" aria-labelledby="generation-title">
      <h2 id="generation-title" class="card-title">Language model</h2>
      <dl class="facts">
        <dt>Model</dt><dd>${generation.model}</dd>
        <dt>Runtime</dt><dd>${generation.engine || "–"}</dd>
        <dt>Slots</dt><dd class="num">${generation.busy} of ${generation.slots} in use</dd>
        <dt>Queue</dt><dd class="num">${generation.queued ? `${generation.queued} waiting` : "empty"}</dd>
        <dt>Pace</dt><dd class="num">${rate(generation.tokens_per_s)} tokens/s</dd>
      </dl>
    </section>`;
}
