/** Vectors of texts, compared. */

const WORDS = [
  [0.9, "Almost the same meaning"],
  [0.65, "Close in meaning"],
  [0.4, "About related things"],
  [0.2, "Loosely related"],
];

/** The cosine of the angle between two vectors of the same length, -1 to 1. */
export function cosine(first, second) {
  const dot = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0);
  return dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second));
}

/** A cosine in words, on the scale of MiniLM's sentence vectors. */
export const likenessWords = (value) => WORDS.find(([least]) => value >= least)?.[1] ?? "Unrelated";
