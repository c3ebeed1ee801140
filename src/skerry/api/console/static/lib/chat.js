/** A conversation with a language model: its turns, and the answer that is being written. */

import { api } from "../api.js";
import { Written } from "./written.js";

/** One conversation for the whole page: it goes on while its owner looks at another view. */
export class Conversation extends Written {
  turns = [];
  draft = "";
  model = "";
  settings = { system: "", temperature: 0.6, maxTokens: 512 };
  count = 0;

  /** Ask `model`; does nothing while an answer is being written. */
  send(question, model) {
    if (this.busy) return;
    const messages = [...this.history(), { role: "user", content: question }];
    const turn = {
      key: (this.count += 1), question, model, answer: "", phase: "waiting", reason: "", error: null, usage: null,
      pieces: 0, sentMs: performance.now(), firstMs: null, lastMs: null,
    };
    this.turns.push(turn);
    this.write(turn, messages);
  }

  /** What the model is told of the turns before; those without an answer never happened. */
  history() {
    const { system } = this.settings;
    const said = this.turns.filter(({ answer }) => answer).flatMap(({ question, answer }) => [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ]);
    return system.trim() ? [{ role: "system", content: system }, ...said] : said;
  }

  write(turn, messages) {
    const { temperature, maxTokens } = this.settings;
    return this.fill(turn, (signal) => api.chat({ model: turn.model, messages, temperature, maxTokens }, signal), take);
  }

  /** Ask the last question once more. */
  retry(model) {
    const { question } = this.turns.pop();
    this.send(question, model);
  }

  clear() {
    this.stop();
    this.turns = [];
    this.changed();
  }
}

function take(turn, { choices: [choice], usage }) {
  if (usage) turn.usage = usage;
  if (choice?.finish_reason) turn.reason = choice.finish_reason;
  if (!choice?.delta.content) return;
  turn.lastMs = performance.now();
  turn.firstMs ??= turn.lastMs;
  turn.phase = "writing";
  turn.answer += choice.delta.content;
  turn.pieces += 1;
}

/**
 * `{tokens, exact, firstMs, tokensPerS}` of an answer. Until the node has counted them, each
 * piece of text is taken for a token, and `exact` is false.
 */
export function figuresOf({ usage, pieces, sentMs, firstMs, lastMs }) {
  const tokens = usage?.completion_tokens ?? pieces;
  const writingS = (lastMs - firstMs) / 1000;
  return {
    tokens,
    exact: Boolean(usage),
    firstMs: firstMs == null ? null : firstMs - sentMs,
    tokensPerS: tokens > 1 && writingS > 0 ? (tokens - 1) / writingS : null,
  };
}
