/** Small time series: the last two minutes of a few numbers, as lines on one scale. */

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { HISTORY_S } from "../lib/node.js";

const WIDTH = 600;
const HEIGHT = 120;
const GAP_MS = 15000; // A longer pause between samples is a gap in the line, not a slope.

/** The smallest round number that is no less than `value`. */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((ceiling) => ceiling >= value * 0.999);
}

/**
 * `series`: `[{name, value(sample), tone}]`, drawn over `history` (`[{atMs, status, hitRate}]`);
 * `format` says a value in words, `ceiling` fixes the scale's end.
 */
export function Chart({ title, series, history, format, ceiling, floor = 0 }) {
  const [hovered, setHovered] = useState(null);
  const plot = useRef(null);
  const endMs = history.at(-1)?.atMs ?? Date.now();
  const startMs = endMs - HISTORY_S * 1000;
  const highest = Math.max(floor, ...history.flatMap((sample) => series.map(({ value }) => value(sample) ?? 0)));
  const top = ceiling ?? niceCeiling(highest);
  const x = (atMs) => ((atMs - startMs) / (endMs - startMs)) * WIDTH;
  const y = (value) => HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 6);
  const shown = hovered ?? history.at(-1);

  const onPointerMove = (event) => {
    const box = plot.current.getBoundingClientRect();
    const atMs = startMs + ((event.clientX - box.left) / box.width) * (endMs - startMs);
    setHovered(nearest(history, atMs));
  };

  return html`<section class="card chart">
    <h2 class="card-title">${title}</h2>
    <dl class="chart-values">
      ${series.map(({ name, value, tone }) => html`<div key=${name} class=${`chart-value ${tone}`}>
        <dt>${name}</dt><dd class="num">${shown ? format(value(shown)) : "–"}</dd>
      </div>`)}
    </dl>
    <div class="plot">
      <span class="plot-scale num">${format(top)}</span>
      <svg ref=${plot} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${title}, the last two minutes`}
          onPointerMove=${onPointerMove} onPointerLeave=${() => setHovered(null)}>
        <path class="plot-grid" d=${`M0 ${HEIGHT - 2}H${WIDTH}M0 ${y(top / 2)}H${WIDTH}M0 ${y(top)}H${WIDTH}`} />
        ${series.map(({ name, value, tone }) => html`<path key=${name} class=${`plot-line ${tone}`}
          d=${line(history, value, x, y)} />`)}
        ${hovered && html`<path class="plot-cursor" d=${`M${x(hovered.atMs)} 0V${HEIGHT}`} />`}
      </svg>
    </div>
    <p class="plot-times faint small num">
      <span>2 min ago</span>
      <span>${hovered ? new Date(hovered.atMs).toLocaleTimeString() : "now"}</span>
    </p>
  </section>`;
}

function line(history, value, x, y) {
  let path = "";
  let before = null;
  for (const sample of history) {
    const { atMs } = sample;
    const number = value(sample);
    if (number == null) continue;
    const joined = before != null && atMs - before < GAP_MS;
    path += `${joined ? "L" : "M"}${x(atMs).toFixed(1)} ${y(number).toFixed(1)}`;
    before = atMs;
  }
  return path;
}

function nearest(history, atMs) {
  const distance = (sample) => Math.abs(sample.atMs - atMs);
  return history.reduce((best, sample) => (!best || distance(sample) < distance(best) ? sample : best), null);
}
