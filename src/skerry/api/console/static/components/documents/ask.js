/** Ask the documents: an answer with the places it rests on, or the word that there is none. */

import { html, useEffect, useRef } from "../../vendor/htm-preact.js";
import { useConsole } from "../../lib/context.js";
import { useWatched } from "../../lib/watched.js";
import { TextField } from "../composer.js";
import { Icon } from "../icons.js";
import { Answer } from "./answer.js";
import { CategoryFilter } from "./category.js";

const MODES = [["auto", "As this node does best"], ["extract", "In the documents’ words"], ["generate", "In the model’s words"]];

export function Ask({ query: { category = "" }, asking }) {
  const { draft, mode, turn, busy } = useWatched(asking);
  const field = useRef(null);
  useSpoken(turn);
  useEffect(() => field.current.focus({ preventScroll: true }), []);

  const ask = () => asking.draft.trim() && asking.ask(asking.draft.trim(), { category });
  const submit = (event) => {
    event.preventDefault();
    if (busy) asking.stop();
    else ask();
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape" && busy) asking.stop();
  };
  return html`<div class="asking">
    <form class="card question" onSubmit=${submit} onKeyDown=${onKeyDown}>
      <${TextField} label="Question" field=${field} value=${draft} rows="2" maxlength="10000" placeholder="What do you want to know from the documents?"
        onInput=${(text) => asking.set({ draft: text })} onEnter=${ask} />
      <div class="question-options">
        <div class="field"><label class="field-name" for="ask-mode">Answer</label>
          <select id="ask-mode" value=${mode} onChange=${({ target }) => asking.set({ mode: target.value })}>
            ${MODES.map(([name, title]) => html`<option key=${name} value=${name}>${title}</option>`)}
          </select></div>
        <${CategoryFilter} value=${category} />
        <button class=${busy ? "button stop" : "button primary"} disabled=${!busy && !draft.trim()}>
          <${Icon} name=${busy ? "stop" : "send"} /> ${busy ? "Stop" : "Ask"}</button>
      </div>
    </form>
    ${turn && html`<${Answer} turn=${turn} onRetry=${() => asking.ask(turn.question, turn)} />`}
  </div>`;
}

/** A screen reader hears that the question is on its way, and the whole answer at its end. */
function useSpoken(turn) {
  const { announce } = useConsole();
  const heard = useRef(turn?.phase);
  useEffect(() => {
    if (!turn || heard.current === turn.phase) return;
    heard.current = turn.phase;
    if (turn.phase === "waiting") announce("Reading the documents.");
    if (turn.phase === "done") announce(turn.reply.answer ?? `No answer. ${turn.reply.reason}`);
    if (turn.phase === "stopped") announce("Stopped.");
  }, [turn?.phase]);
}
