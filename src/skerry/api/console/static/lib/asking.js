/** The question to the documents, and the answer that is being written. */

import { api } from "../api.js";
import { Written } from "./written.js";

/** One question for the whole page: its answer stays while its owner looks at another view. */
export class Asking extends Written {
  draft = "";
  mode = "auto";
  turn = null;

  /** Ask; an older question is let go. `category` leaves out the documents of the others. */
  async ask(question, { category }) {
    const turn = { question, category, text: "", phase: "waiting", mode: "", sources: [], reply: null, error: null };
    this.turn = turn;
    const filter = category ? { category } : undefined;
    await this.fill(turn, (signal) => api.ask({ question, mode: this.mode, filter }, signal), take);
  }
}

/** Opened, a piece, or the whole, as they come. */
function take(turn, event) {
  if ("declined" in event) Object.assign(turn, { reply: event, text: event.answer ?? "", sources: event.sources, mode: event.mode });
  else if (event.sources) Object.assign(turn, { sources: event.sources, mode: event.mode });
  else Object.assign(turn, { text: turn.text + event.text, phase: "writing" });
}

/**
 * The answer in parts `{text, unsupported, sources}`; `sources` are the numbers, from 1, of those
 * that what ends with the part rests on. Places are known only once the answer is whole.
 */
export function partsOf(characters, { sources, unsupported }) {
  const supported = sources.flatMap(({ supports }, place) => supports.map((range) => [...range, place + 1]));
  const borders = [0, characters.length, ...supported.flatMap(([start, end]) => [start, end]), ...unsupported.flat()];
  const ends = [...new Set(borders)].sort((a, b) => a - b);
  return ends.slice(1).map((end, place) => ({
    text: characters.slice(ends[place], end).join(""),
    unsupported: unsupported.some(([from, to]) => from <= ends[place] && end <= to),
    sources: supported.filter(([, to]) => to === end).map(([, , number]) => number),
  }));
}
