/** Talk to the node: one fetch wrapper, one error type, one meaning for "unreachable". */

export class ApiError extends Error {
  constructor({ message, remedy = "", code = "internal", status = 0, requestId = "", retryAfterS = null }) {
    super(message);
    Object.assign(this, { remedy, code, status, requestId, retryAfterS });
  }

  get unreachable() {
    return this.code === "unreachable";
  }
}

const listeners = { signedOut: new Set(), unreachable: new Set() };

function listen(kind, listener) {
  listeners[kind].add(listener);
  return () => listeners[kind].delete(listener);
}

/** Call `listener` whenever the node answers 401; returns the function that stops it. */
export const onSignedOut = (listener) => listen("signedOut", listener);

/** Call `listener` with the error whenever a request does not reach the node. */
export const onUnreachable = (listener) => listen("unreachable", listener);

/** A query string of the entries that hold something. */
export function queryString(query = {}) {
  const entries = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  return entries.length ? `?${new URLSearchParams(entries)}` : "";
}

/**
 * Send one request; resolves to `{data, headers, elapsedMs}`, rejects with an ApiError.
 * An abort rejects with the browser's own AbortError, which callers ignore.
 */
export async function request(method, path, { query, json, body, signal } = {}) {
  const init = { method, signal, body, headers: { Accept: "application/json" } };
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  }
  const started = performance.now();
  const response = await send(path + queryString(query), init);
  const data = await readBody(response);
  if (!response.ok) throw refusal(response, data, path);
  return { data, status: response.status, headers: response.headers, elapsedMs: performance.now() - started };
}

/**
 * Send JSON and yield the decoded server-sent events of the answer, up to `[DONE]` or the event
 * that `isLast`. Rejects with an ApiError when the node refuses, when an event tells of an error,
 * when the stream breaks off.
 */
export async function* eventStream(path, json, { signal, isLast = () => false }) {
  const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
  const response = await send(path, { method: "POST", signal, headers, body: JSON.stringify(json) });
  if (!response.ok) throw refusal(response, await readBody(response), path);
  for await (const data of eventData(response.body.getReader())) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw refusal(response, event, path);
    yield event;
    if (isLast(event)) return;
  }
  throw brokenOff();
}

/** The `data` of each event, one line each as the node writes them. */
async function* eventData(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await read(reader);
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length);
    }
  } finally {
    // A no-op at the end; before it, this is what lets go of the connection.
    reader.cancel().catch(() => {});
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw brokenOff();
  }
}

function brokenOff() {
  return new ApiError({
    code: "broken_off",
    message: "The answer broke off: the connection to the node was lost.",
    remedy: "Ask again; the node’s log tells more.",
  });
}

async function send(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const gone = unreachable();
    listeners.unreachable.forEach((tell) => tell(gone));
    throw gone;
  }
}

async function readBody(response) {
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null; // Not JSON: the status alone decides, in `refusal`.
  }
}

function unreachable() {
  return new ApiError({
    code: "unreachable",
    message: "The node does not answer.",
    remedy: `Check that it still runs at ${location.origin}; “skerry up” starts it.`,
  });
}

function refusal(response, data, path) {
  if (response.status === 401 && path !== "/api/session") listeners.signedOut.forEach((tell) => tell());
  // An upload of which every file failed has its reasons in the files' own entries.
  const error = data?.error ?? data?.images?.[0]?.error ?? {};
  const retryAfter = Number(response.headers.get("Retry-After"));
  return new ApiError({
    status: response.status,
    code: error.code ?? "internal",
    message: error.message ?? `The node answered ${response.status}.`,
    remedy: error.remedy ?? "",
    requestId: error.request_id ?? response.headers.get("X-Request-Id") ?? "",
    retryAfterS: retryAfter > 0 ? retryAfter : null,
  });
}

/** Stages of a `Server-Timing` header as `{name: milliseconds}`, in the order sent. */
export function parseServerTiming(header) {
  const stages = {};
  for (const part of (header ?? "").split(",")) {
    const match = /^\s*([\w-]+)\s*;.*?dur=([\d.]+)/.exec(part);
    if (match) stages[match[1]] = Number(match[2]);
  }
  return stages;
}

const documentPath = (id) => `/api/documents/${encodeURIComponent(id)}`;
const file = (id) => `/api/images/${encodeURIComponent(id)}`;

/** The addresses an `<img>` or a link may use directly (a session cookie signs them). */
export const imageUrl = {
  thumbnail: (id, size = 256) => `${file(id)}/thumbnail?size=${size}`,
  original: (id) => `${file(id)}/file`,
};

export const api = {
  session: () => request("GET", "/api/session"),
  signIn: (key) => request("POST", "/api/session", { json: { key } }),
  signOut: () => request("DELETE", "/api/session"),
  status: (signal) => request("GET", "/api/status", { signal }),

  recognize: (image, { signal } = {}) =>
    request("POST", "/api/recognize", {
      query: { limit: 12, labels: 5, features: false },
      body: image,
      signal,
    }),

  models: (signal) => request("GET", "/api/models", { signal }),

  /** The events of an answer as it is written; the last has the usage. */
  chat: ({ model, messages, temperature, maxTokens }, signal) =>
    eventStream("/v1/chat/completions", {
      model,
      messages,
      temperature,
      max_tokens: maxTokens ?? undefined,
      stream: true,
      stream_options: { include_usage: true },
    }, { signal }),
  classify: (json, signal) => request("POST", "/api/classify", { json, signal }),
  embeddings: (json, signal) => request("POST", "/v1/embeddings", { json, signal }),

  images: (query, signal) => request("GET", "/api/images", { query, signal }),
  image: (id, signal) => request("GET", file(id), { signal }),
  changeImage: (id, changes) => request("PATCH", file(id), { json: changes }),
  deleteImage: (id) => request("DELETE", file(id)),
  similarTo: (id, limit, signal) =>
    request("POST", "/api/images/search", { json: { id, limit }, signal }),

  /** Store one file; resolves to its entry of the answer, rejects when the node refused it. */
  async storeImage(image, { name, uploadedBy = "", tags = {}, signal } = {}) {
    const form = new FormData();
    if (uploadedBy) form.append("uploaded_by", uploadedBy);
    if (Object.keys(tags).length) form.append("tags", JSON.stringify(tags));
    form.append("file", image, name ?? image.name ?? "photo");
    const { data } = await request("POST", "/api/images", { body: form, signal });
    return data.images[0];
  },

  search: (json, signal) => request("POST", "/api/search", { json, signal }),

  /** How the question is answered, the pieces of the answer, and last the whole of it. */
  ask: (json, signal) =>
    eventStream("/api/ask", { ...json, stream: true }, { signal, isLast: (event) => "declined" in event }),

  documents: (query, signal) => request("GET", "/api/documents", { query, signal }),
  document: (id, signal) => request("GET", documentPath(id), { query: { chunks: true }, signal }),
  deleteDocument: (id) => request("DELETE", documentPath(id)),
  deleteCategory: (category) => request("POST", "/api/documents/delete", { json: { filter: { category } } }),

  /** Store one file; resolves to what became of it, rejects when the node refused it. */
  async storeDocument(document, { id, category = "", signal }) {
    const form = new FormData();
    form.append("id", id);
    if (category) form.append("category", category);
    form.append("file", document, document.name);
    const { data } = await request("POST", "/api/documents", { body: form, signal });
    return data.documents[0];
  },
};
