/** The node's models by what they are for, as its status names them. */

/** Models for `task` ("text-generation" …), the default first. */
export function modelsFor(status, task) {
  const models = (status?.models ?? []).filter((model) => model.task === task);
  return models.sort((a, b) => Number(b.default) - Number(a.default));
}

/** The model called `name`, else the default; undefined when there is none. */
export const chosenModel = (models, name) => models.find((model) => model.name === name) ?? models[0];
