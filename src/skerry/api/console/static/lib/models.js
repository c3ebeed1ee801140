/** The node's models by what they are for: those that run, and those that lie ready on its disk. */

import { useEffect, useState } from "../vendor/htm-preact.js";
import { api } from "../api.js";
import { useConsole } from "./context.js";

/**
 * `modelsFor(task)`: the models for `task` ("text-generation" …) with their states, defaults first.
 * The status knows what is in use or on its way; the list of the installed adds what may be asked for.
 */
export function useModels() {
  const { status } = useConsole();
  const [installed, setInstalled] = useState([]);
  const served = status?.models ?? [];
  const states = served.map(({ name, state }) => `${name} ${state}`).join();

  useEffect(() => {
    const abort = new AbortController();
    api.models(abort.signal).then(({ data }) => setInstalled(data.models)).catch(() => {
      // The models in use are enough to go on with; the head says it when the node is gone.
    });
    return () => abort.abort();
  }, [states]);

  return (task) => merged(served, installed).filter((model) => model.task === task);
}

function merged(served, installed) {
  const tasks = new Map(installed.map(({ name, task }) => [name, task]));
  const known = new Set(served.map(({ name }) => name));
  return [
    ...served.map((model) => ({ ...model, task: model.task || tasks.get(model.name) })),
    ...installed.filter(({ name }) => !known.has(name)).map(({ name, task }) => ({ name, task, state: "installed", default: false })),
  ].sort((a, b) => Number(b.default) - Number(a.default));
}

/** The model called `name`, else the first; undefined when there is none. */
export const chosenModel = (models, name) => models.find((model) => model.name === name) ?? models[0];
