/** What the node makes of texts: the class of one, and how near two are in meaning. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { api, parseServerTiming } from "../api.js";
import { LabelBars, LabelBarsSkeleton } from "../components/bars.js";
import { TextField } from "../components/composer.js";
import { Likeness } from "../components/likeness.js";
import { ModelNotice, ModelPicker } from "../components/models.js";
import { Empty, ErrorNotice, Loading, RetriedError } from "../components/notice.js";
import { useConsole } from "../lib/context.js";
import { milliseconds, share } from "../lib/format.js";
import { chosenModel, useModels } from "../lib/models.js";
import { cosine, likenessWords } from "../lib/vectors.js";

const EXAMPLES = ["The parcel came a day early. Wonderful service!", "Terrible: it broke on the first day.", "The shop opens at nine."];
const PAIR = ["The ship entered the harbour at dawn.", "A boat came into port early in the morning."];

export function TextView() {
  const { can, status, outage } = useConsole();
  const modelsFor = useModels();
  if (!can("infer")) {
    return html`<h1 class="view-title">Text</h1>
      <${Empty} title="This key may look, but not read texts"><p>Reading texts needs a key of scope infer.</p></${Empty}>`;
  }
  if (!status) {
    return html`<h1 class="view-title">Text</h1>${!outage && html`<${Loading} label="Asking the node" />`}`;
  }
  return html`
    <header class="view-head"><h1 class="view-title">Text</h1></header>
    <div class="texts">
      <${Classify} models=${modelsFor("text-classification")} />
      <${Compare} models=${modelsFor("text-embedding")} />
    </div>`;
}

/** One question at a time: `ask(call)` runs it and keeps its answer; a newer one replaces it. */
function useQuestion() {
  const [state, setState] = useState({ busy: false, answer: null, error: null });
  const running = useRef(null);
  useEffect(() => () => running.current?.abort(), []);
  const ask = async (call) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setState((now) => ({ ...now, busy: true, error: null }));
    try {
      const answer = await call(abort.signal);
      setState({ busy: false, answer, error: null });
    } catch (error) {
      if (!abort.signal.aborted) setState({ busy: false, answer: null, error });
    }
  };
  return { ...state, ask };
}

function Classify({ models }) {
  const { announce } = useConsole();
  const [text, setText] = useState("");
  const [name, choose] = useState("");
  const { busy, answer, error, ask } = useQuestion();
  const model = chosenModel(models, name);

  const run = (given, long) => given.trim() && ask(async (signal) => {
    const { data } = await api.classify({ text: given, model: model?.name, long }, signal);
    const labels = ranked(data.results[0].probabilities);
    announce(`${labels[0].label}, ${share(labels[0].probability)}.`);
    return { labels, model: data.model.name, ms: data.total_time_ms };
  });

  return html`<section class="card text-card" aria-labelledby="classify-title">
    <h2 id="classify-title" class="card-title">Classify a text</h2>
    <${Question} models=${models} model=${model} onChoose=${choose} busy=${busy} ready=${Boolean(text.trim())}
      action="Classify" task="classifies texts" onAsk=${() => run(text)}>
      <${TextField} label="Text" value=${text} rows="3" placeholder="A review, a complaint, a remark"
        onInput=${setText} onEnter=${() => run(text)} />
    </${Question}>
    ${model && html`<${Examples} examples=${EXAMPLES} onTry=${(example) => { setText(example); run(example); }} />`}
    <div class="text-answer" aria-busy=${busy}>
      ${error && html`<${Failure} error=${error} onRetry=${() => run(text)} onSplit=${() => run(text, "split")} />`}
      ${answer ? html`<${LabelBars} labels=${answer.labels} /><${Took} answer=${answer} />` : !error && html`<${LabelBarsSkeleton} rows=${3} />`}
    </div>
  </section>`;
}

const ranked = (probabilities) => Object.entries(probabilities)
  .map(([label, probability]) => ({ label, probability }))
  .sort((a, b) => b.probability - a.probability);

function Compare({ models }) {
  const { announce } = useConsole();
  const [texts, setTexts] = useState(["", ""]);
  const [name, choose] = useState("");
  const { busy, answer, error, ask } = useQuestion();
  const model = chosenModel(models, name);
  const ready = texts.every((text) => text.trim());

  const run = (given, long) => given.every((text) => text.trim()) && ask(async (signal) => {
    const { data, headers, elapsedMs } = await api.embeddings({ input: given, model: model?.name, long }, signal);
    const [first, second] = data.data.map(({ embedding }) => embedding);
    const value = cosine(first, second);
    announce(`${likenessWords(value)}, ${value.toFixed(2)}.`);
    return { value, size: first.length, model: data.model, ms: parseServerTiming(headers.get("Server-Timing")).total ?? elapsedMs };
  });
  const field = (place, label) => html`<${TextField} label=${label} value=${texts[place]} rows="2" placeholder=${PAIR[place]}
    onInput=${(text) => setTexts(texts.with(place, text))} onEnter=${() => run(texts)} />`;

  return html`<section class="card text-card" aria-labelledby="compare-title">
    <h2 id="compare-title" class="card-title">Compare two texts</h2>
    <${Question} models=${models} model=${model} onChoose=${choose} busy=${busy} ready=${ready}
      action="Compare" task="embeds texts" onAsk=${() => run(texts)}>
      ${field(0, "First text")} ${field(1, "Second text")}
    </${Question}>
    ${model && html`<${Examples} examples=${["Two sentences about a ship"]} onTry=${() => { setTexts(PAIR); run(PAIR); }} />`}
    <div class="text-answer" aria-busy=${busy}>
      ${error && html`<${Failure} error=${error} onRetry=${() => run(texts)} onSplit=${() => run(texts, "split")} />`}
      ${(answer || !error) && html`<${Likeness} value=${answer?.value} size=${answer?.size} />`}
      ${answer && html`<${Took} answer=${answer} />`}
    </div>
  </section>`;
}

/** The form of a card; where no model does its task, how to get one. */
function Question({ models, model, onChoose, busy, ready, action, task, onAsk, children }) {
  const submit = (event) => {
    event.preventDefault();
    onAsk();
  };
  if (!model) {
    return html`<p class="faint">This node has no model that ${task}. Add one on its machine: <code>skerry models add FOLDER</code></p>`;
  }
  return html`<form class="question" onSubmit=${submit}>
    ${models.length > 1 && html`<${ModelPicker} models=${models} chosen=${model} onChoose=${onChoose} />`}
    <${ModelNotice} model=${model} />
    ${children}
    <button class="button primary" disabled=${!ready}>${busy ? "Reading…" : action}</button>
  </form>`;
}

function Examples({ examples, onTry }) {
  return html`<ul class="topics" aria-label="Examples">
    <li class="hint" aria-hidden="true">For example</li>
    ${examples.map((example) => html`<li key=${example}><button class="topic" onClick=${() => onTry(example)}>${example}</button></li>`)}
  </ul>`;
}

function Failure({ error, onRetry, onSplit }) {
  if (error.code === "context_length_exceeded") {
    return html`<${ErrorNotice} error=${error} onRetry=${onSplit} retryLabel="Read it in parts" />`;
  }
  return html`<${RetriedError} error=${error} onRetry=${onRetry} />`;
}

function Took({ answer: { model, ms } }) {
  return html`<dl class="facts"><dt>Model</dt><dd>${model}</dd><dt>Time</dt><dd class="num">${milliseconds(ms)} on the node</dd></dl>`;
}
