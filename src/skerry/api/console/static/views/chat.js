/** Talk with a language model of the node, and see how fast it writes. */

import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { TextField } from "../components/composer.js";
import { Icon } from "../components/icons.js";
import { ModelNotice, ModelPicker } from "../components/models.js";
import { Empty, Loading } from "../components/notice.js";
import { Turn } from "../components/turn.js";
import { useConsole } from "../lib/context.js";
import { chosenModel, useModels } from "../lib/models.js";
import { useWatched } from "../lib/watched.js";

const AT_END_PX = 48;
const TOPICS = ["What can you help me with?", "Write a haiku about the sea.", "Explain what a lighthouse is for, to a child."];

export function ChatView({ conversation }) {
  const { can, status, outage } = useConsole();
  const models = useModels()("text-generation");
  if (!can("infer")) {
    return html`<h1 class="view-title">Chat</h1>
      <${Empty} title="This key may look, but not chat"><p>Chatting needs a key of scope infer.</p></${Empty}>`;
  }
  if (!models.length) {
    return html`<h1 class="view-title">Chat</h1>
      ${status || outage ? html`<${NoModel} status=${status} />` : html`<${Loading} label="Asking the node" />`}`;
  }
  return html`<${Chat} conversation=${conversation} models=${models} generation=${status?.generation} />`;
}

function NoModel({ status }) {
  const reason = status?.parts.texts?.reason;
  return html`<${Empty} title="This node has no language model">
    <p>${reason || "Without one it can't chat."} Add one on its machine: <code>skerry models add FILE.gguf</code></p>
  </${Empty}>`;
}

function Chat({ conversation, models, generation }) {
  const { turns, busy, model: name } = useWatched(conversation);
  const model = chosenModel(models, name);
  const field = useRef(null);
  const focus = () => field.current?.focus();
  useSpoken(turns.at(-1));
  useEffect(focus, []);

  const send = (question) => {
    if (!question.trim() || conversation.busy) return;
    conversation.set({ draft: "" });
    conversation.send(question.trim(), model.name);
    focus();
  };
  const stop = () => {
    conversation.stop();
    focus();
  };
  const begin = () => {
    conversation.clear();
    focus();
  };

  return html`<div class="chat">
    <header class="view-head chat-head">
      <h1 class="view-title">Chat</h1>
      <${ModelPicker} models=${models} chosen=${model} onChoose=${(chosen) => conversation.set({ model: chosen })} />
      <span class="spacer"></span>
      <button class="button" disabled=${!turns.length} onClick=${begin}><${Icon} name="plus" /> New chat</button>
    </header>
    <${Settings} conversation=${conversation} />
    <${ModelNotice} model=${model} />
    <${Log} turns=${turns} onRetry=${() => conversation.retry(model.name)} onNew=${begin} onTopic=${send} />
    <${Composer} conversation=${conversation} field=${field} generation=${generation} onSend=${send} onStop=${stop} />
  </div>`;
}

/** A screen reader hears when an answer begins and the whole of it at its end, not each token. */
function useSpoken(turn) {
  const { announce } = useConsole();
  const heard = useRef(turn && turn.key + turn.phase);
  const now = turn && turn.key + turn.phase;
  useEffect(() => {
    if (!turn || heard.current === now) return;
    heard.current = now;
    if (turn.phase === "waiting") announce("Waiting for the answer.");
    if (turn.phase === "done") announce(turn.answer || "The model said nothing.");
    if (turn.phase === "stopped") announce("Stopped.");
  }, [now]);
}

/** The log follows the answer as long as its reader stays at the end. */
function Log({ turns, onRetry, onNew, onTopic }) {
  const log = useRef(null);
  const atEnd = useRef(true);
  const onScroll = ({ target }) => {
    atEnd.current = target.scrollHeight - target.scrollTop - target.clientHeight < AT_END_PX;
  };
  useEffect(() => {
    atEnd.current = true;
  }, [turns.length]);
  useEffect(() => {
    if (atEnd.current) toEnd(log.current);
  });
  useEffect(() => {
    const observer = new ResizeObserver(() => atEnd.current && toEnd(log.current));
    observer.observe(log.current);
    return () => observer.disconnect();
  }, []);
  return html`<section ref=${log} class="card log" tabindex="0" aria-label="Conversation" onScroll=${onScroll}>
    ${turns.length
      ? html`<ol class="turns">${turns.map((turn, place) => html`<${Turn} key=${turn.key} turn=${turn} onNew=${onNew}
          onRetry=${place === turns.length - 1 ? onRetry : null} />`)}</ol>`
      : html`<${Empty} title="Ask something">
          <p>The model runs on this node; what you write goes nowhere else. Small models are quick, and often wrong.</p>
          <ul class="topics">${TOPICS.map((topic) => html`<li key=${topic}>
            <button class="topic" onClick=${() => onTopic(topic)}>${topic}</button></li>`)}</ul>
        </${Empty}>`}
  </section>`;
}

function toEnd(log) {
  log.scrollTop = log.scrollHeight;
}

function Composer({ conversation, field, generation, onSend, onStop }) {
  const { draft, busy } = conversation;
  const submit = (event) => {
    event.preventDefault();
    if (busy) onStop();
    else onSend(conversation.draft);
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape" && busy) onStop();
  };
  return html`<form class="composer" onSubmit=${submit} onKeyDown=${onKeyDown}>
    <${TextField} label="Message" hidden field=${field} value=${draft} rows="1" placeholder="Write a message"
      onInput=${(text) => conversation.set({ draft: text })} onEnter=${() => onSend(conversation.draft)} />
    <button class=${busy ? "button stop" : "button primary"} disabled=${!busy && !draft.trim()}>
      <${Icon} name=${busy ? "stop" : "send"} /> ${busy ? "Stop" : "Send"}
    </button>
    <p class="hint composer-hint">
      <span class="only-mouse">${busy ? html`<kbd>Esc</kbd> stops` : html`<kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> begins a line`}</span>
      ${generation && html`<span class="num">${generation.busy} of ${generation.slots} slots in use${generation.queued ? `, ${generation.queued} waiting` : ""}</span>`}
    </p>
  </form>`;
}

function Settings({ conversation }) {
  const { system, temperature, maxTokens } = conversation.settings;
  const set = (changes) => conversation.set({ settings: { ...conversation.settings, ...changes } });
  return html`<details class="card fold">
    <summary><${Icon} name="sliders" size="18" /> Settings
      <span class="faint num">temperature ${temperature}, ${maxTokens ? `at most ${maxTokens} tokens` : "no limit of tokens"}${system.trim() ? ", system prompt" : ""}</span>
    </summary>
    <div class="fold-body">
      <${TextField} label="System prompt" value=${system} rows="2" placeholder="You are a helpful assistant." onInput=${(text) => set({ system: text })} />
      <label class="field"><span class="field-name">Temperature <span class="num">${temperature}</span></span>
        <input type="range" min="0" max="2" step="0.1" value=${temperature} aria-describedby="temperature-hint"
          onInput=${(event) => set({ temperature: Number(event.target.value) })} />
        <span id="temperature-hint" class="hint">0 always says the likeliest</span>
      </label>
      <label class="field"><span class="field-name">Tokens at most</span>
        <input type="number" min="1" step="1" value=${maxTokens ?? ""} placeholder="what fits" onInput=${(event) => set({ maxTokens: wholeNumber(event.target) })} />
        <span class="hint">for one answer; empty: what fits</span>
      </label>
    </div>
  </details>`;
}

/**
 * What stands in the field as a positive whole number, or null. It is read at each keystroke: the
 * page is drawn again with every status, and would put back what was not kept yet.
 */
const wholeNumber = (field) => Math.max(1, Math.trunc(field.valueAsNumber)) || null;
