/** The node live: how much it does, how fast, from which parts. */

import { html } from "../vendor/htm-preact.js";
import { Chart } from "../components/chart.js";
import { Generation } from "../components/generation.js";
import { Icon } from "../components/icons.js";
import { MODEL_TONES } from "../components/models.js";
import { Empty, Loading } from "../components/notice.js";
import { bytes, dateTime, duration, integer, milliseconds, percent, plural } from "../lib/format.js";

const number = (digits) => (value) => (value == null ? "–" : value.toFixed(value >= 100 ? 0 : digits));
const lookups = ({ cache }) => cache.hits + cache.misses + cache.shared;

const CHARTS = [
  {
    title: "Throughput",
    format: (value) => `${number(1)(value)} /s`,
    floor: 1,
    series: [
      { name: "requests", tone: "tone-1", value: ({ status }) => status.traffic.requests_per_s },
      { name: "errors", tone: "tone-bad", value: ({ status }) => status.traffic.errors_per_s },
    ],
  },
  {
    title: "Latency",
    format: milliseconds,
    series: [
      { name: "P50", tone: "tone-1", value: ({ status }) => status.traffic.p50_ms },
      { name: "P95", tone: "tone-2", value: ({ status }) => status.traffic.p95_ms },
    ],
  },
  {
    title: "Cache hit rate",
    format: (value) => (value == null ? "–" : percent(value)),
    ceiling: 1,
    series: [
      { name: "last minute", tone: "tone-1", value: ({ hitRate }) => hitRate },
      { name: "since start", tone: "tone-2", value: ({ status }) => (lookups(status) ? status.cache.hit_rate : null) },
    ],
  },
  {
    title: "Queue",
    format: number(0),
    floor: 4,
    series: [{ name: "waiting", tone: "tone-1", value: ({ status }) => status.engine.queue_depth }],
  },
  {
    title: "Batch size",
    format: number(1),
    floor: 4,
    series: [{ name: "mean", tone: "tone-1", value: ({ status }) => status.engine.batch_size_mean }],
  },
  {
    title: "Index lag",
    format: (value) => (value == null ? "–" : integer(value)),
    floor: 10,
    series: [{ name: "changes behind", tone: "tone-1", value: ({ status }) => status.index.lag }],
  },
];

export function LiveView({ node }) {
  const { status, error, history } = node;
  if (!status) {
    return html`<h1 class="view-title">Live</h1>
      ${error ? html`<${Empty} title=${error.message}><p>${error.remedy}</p></${Empty}>` : html`<${Loading} label="Asking the node" />`}`;
  }
  return html`
    <header class="view-head">
      <h1 class="view-title">Live</h1>
      <p class="faint num">up ${duration(status.uptime_s)}, version ${status.version}</p>
    </header>
    <div class="charts">${CHARTS.map((chart) => html`<${Chart} key=${chart.title} history=${history} ...${chart} />`)}
      ${status.generation && html`<${Generation} generation=${status.generation} history=${history} />`}
    </div>
    <div class="live-cards">
      <${Parts} parts=${status.parts} />
      <${Index} index=${status.index} images=${status.images} />
      <${Totals} status=${status} />
    </div>
    <${Models} models=${status.models} />`;
}

const MARKS = { ready: ["good", "check"], starting: ["wait", "refresh"], failed: ["bad", "alert"] };

function Parts({ parts }) {
  return html`<section class="card" aria-labelledby="parts-title">
    <h2 id="parts-title" class="card-title">Parts</h2>
    <ul class="parts">
      ${Object.entries(parts).map(([name, { state, reason }]) => {
        const [tone, icon] = MARKS[state] ?? MARKS.starting;
        return html`<li key=${name} class=${`part ${tone}`}>
          <span class="part-name">${name}</span>
          <span class="part-state"><${Icon} name=${icon} size="16" /> ${state}</span>
          ${reason && html`<span class="part-reason">${reason}</span>`}
        </li>`;
      })}
    </ul>
  </section>`;
}

function Index({ index, images }) {
  const working = index.state === "rebuilding" || index.state === "catching_up";
  return html`<section class="card" aria-labelledby="index-title">
    <h2 id="index-title" class="card-title">Search index</h2>
    <dl class="facts">
      <dt>State</dt><dd>${index.state.replaceAll("_", " ")}</dd>
      <dt>Lag</dt><dd class="num">${index.lag === 0 ? "none" : `${integer(index.lag)} changes behind`}</dd>
      <dt>Vectors</dt><dd class="num">${integer(index.points)} of ${integer(images)} images</dd>
      ${index.skipped > 0 && html`<dt>Left out</dt><dd class="num">${plural(index.skipped, "image")}</dd>`}
      <dt>Space</dt><dd>${index.space || "–"}</dd>
    </dl>
    ${working && html`<progress max="1" value=${index.progress} aria-label="Progress of the index"></progress>`}
    ${index.message && html`<p class="hint">${index.message}</p>`}
  </section>`;
}

function Totals({ status: { cache, data, engine, images, started_at: startedAt } }) {
  return html`<section class="card" aria-labelledby="node-title">
    <h2 id="node-title" class="card-title">Node</h2>
    <dl class="facts">
      <dt>Images</dt><dd class="num">${integer(images)}</dd>
      <dt>Cache</dt><dd class="num">${cache.type}: ${plural(cache.hits, "hit")}, ${plural(cache.misses, "miss", "misses")}${cache.shared ? `, ${integer(cache.shared)} shared` : ""}</dd>
      <dt>Engine</dt><dd class="num">${milliseconds(engine.inference_ms_mean)} mean, ${engine.streams} at once, queue of ${engine.queue_limit}</dd>
      <dt>Free disk</dt><dd class="num">${bytes(data.free_bytes)}</dd>
      <dt>Data</dt><dd><code class="hash">${data.folder}</code></dd>
      <dt>Started</dt><dd>${dateTime(startedAt)}</dd>
    </dl>
  </section>`;
}

function Models({ models }) {
  return html`<section class="card" aria-labelledby="models-title">
    <h2 id="models-title" class="card-title">Models</h2>
    <div class="scroll" tabindex="0" role="group" aria-label="Table of models">
      <table>
        <thead><tr>
          <th scope="col">Model</th><th scope="col">Task</th><th scope="col">Precision</th><th scope="col">Engine</th>
          <th scope="col">State</th><th scope="col" class="right">Memory</th><th scope="col" class="right">Load</th>
        </tr></thead>
        <tbody>
          ${models.map((model) => html`<tr key=${`${model.name} ${model.precision}`}>
            <th scope="row">${model.name} ${model.default && html`<span class="chip">default</span>`}</th>
            <td>${model.task || "–"}</td>
            <td>${model.precision ? model.precision.toUpperCase() : "–"}</td>
            <td>${model.engine ? `${model.engine}, ${model.device}` : "–"}</td>
            <td class=${MODEL_TONES[model.state]}>
              <span class="model-state"><span class="dot"></span>${model.state}</span>
              ${model.reason && html`<span class="model-reason">${model.reason}</span>`}
            </td>
            <td class="num right">${model.memory_bytes ? bytes(model.memory_bytes) : "–"}</td>
            <td class="num right">${model.load_ms ? milliseconds(model.load_ms) : "–"}</td>
          </tr>`)}
        </tbody>
      </table>
    </div>
  </section>`;
}
