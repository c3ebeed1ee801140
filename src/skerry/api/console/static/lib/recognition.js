/** The photo in question: sent, answered, and stored when its owner says so. */

import { useCallback, useRef, useState } from "../vendor/htm-preact.js";
import { api, imageUrl, parseServerTiming } from "../api.js";
import { sha256 } from "./files.js";

const IDLE = { phase: "idle", file: null, url: "", answer: null, error: null, stored: null };
const SAME_IMAGE_SCORE = 0.999;

/**
 * State and moves of the Recognize view; it lives above the views, so that a look at the
 * collection does not lose the answer. `phase` is idle, working, done or failed.
 */
export function useRecognition() {
  const [state, setState] = useState(IDLE);
  const running = useRef(null);
  const shownUrl = useRef("");

  const show = useCallback((file) => {
    URL.revokeObjectURL(shownUrl.current);
    shownUrl.current = file ? URL.createObjectURL(file) : "";
    return shownUrl.current;
  }, []);

  const recognize = useCallback(async (file, { keepPhoto = false } = {}) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setState((now) => (keepPhoto ? { ...now, phase: "working" } : { ...IDLE, phase: "working", file, url: show(file) }));
    try {
      const answer = readAnswer(await api.recognize(file, { signal: abort.signal }));
      setState((now) => ({ ...now, phase: "done", answer, error: null }));
      const stored = await alreadyStored(file, answer.similar_images[0], abort.signal);
      if (stored) setState((now) => ({ ...now, stored: now.stored ?? { ...stored, status: "exists" } }));
    } catch (error) {
      if (abort.signal.aborted) return;
      setState((now) => ({ ...now, phase: "failed", answer: null, error }));
    }
  }, []);

  const recognizeStored = useCallback(async (image) => {
    try {
      const response = await fetch(imageUrl.original(image.id));
      if (!response.ok) throw new Error(`The node answered ${response.status} for the photo's file.`);
      const blob = await response.blob();
      await recognize(new File([blob], image.filename, { type: blob.type }));
    } catch (error) {
      setState({ ...IDLE, phase: "failed", error });
    }
  }, []);

  /** Store the photo with these tags, or add them to the image that is already stored. */
  const store = useCallback(async ({ file, stored }, { tags, uploadedBy }) => {
    const first = stored ?? (await api.storeImage(file, { name: file.name, uploadedBy, tags }));
    const image = lacksTags(first, tags) ? await addTags(first, tags) : first;
    setState((now) => (now.file === file ? { ...now, stored: image } : now));
    return image;
  }, []);

  const clear = useCallback(() => {
    running.current?.abort();
    show(null);
    setState(IDLE);
  }, []);

  /** Keep up with what other views do to the stored image. */
  const follow = useCallback((kind, image) => {
    setState((now) => {
      if (now.stored?.id !== image.id) return now;
      return { ...now, stored: kind === "deleted" ? null : { ...image, status: now.stored.status } };
    });
  }, []);

  return { ...state, recognize, recognizeStored, store, clear, follow };
}

function readAnswer({ data, headers, elapsedMs }) {
  return { ...data, stages: parseServerTiming(headers.get("Server-Timing")), elapsedMs };
}

/** The stored image with the very same bytes, or null. A near match alone proves nothing. */
async function alreadyStored(file, nearest, signal) {
  if (!nearest || nearest.similarity_score < SAME_IMAGE_SCORE) return null;
  const digest = await sha256(file);
  if (!digest) return null;
  const { data } = await api.image(nearest.id, signal);
  return data.sha256 === digest ? data : null;
}

const lacksTags = (image, tags) =>
  Object.entries(tags).some(([name, value]) => String(image.tags?.[name]) !== String(value));

async function addTags(image, tags) {
  const { data } = await api.changeImage(image.id, { tags: { ...image.tags, ...tags } });
  return { ...data, status: image.status };
}
