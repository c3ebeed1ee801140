/** Files on their way into the collection: a few at a time, each with its own result. */

import { useEffect, useState } from "../vendor/htm-preact.js";
import { ApiError, api } from "../api.js";

const PARALLEL = 3;
const ATTEMPTS = 6;
const REDRAW_MS = 100;

/** One queue for the whole page: it goes on while its owner looks at another view. */
export class UploadQueue {
  items = [];
  running = 0;
  abort = new AbortController();
  listeners = new Set();
  storedListeners = new Set();
  redraw = 0;

  /** Queue `files`; `options` are `{uploadedBy, tagsFor(file)}`. */
  add(files, { uploadedBy, tagsFor }) {
    if (!this.busy) this.items = [];
    for (const file of files) {
      const name = file.relativePath || file.webkitRelativePath || file.name;
      this.items.push({ key: this.items.length, file, name, status: "waiting", error: null, image: null, uploadedBy, tags: tagsFor(file) });
    }
    this.pump();
  }

  get busy() {
    return this.running > 0 || this.items.some((item) => item.status === "waiting");
  }

  get counts() {
    const counts = { total: this.items.length, created: 0, exists: 0, failed: 0, cancelled: 0, waiting: 0, sending: 0 };
    for (const { status } of this.items) counts[status] += 1;
    return { ...counts, settled: counts.total - counts.waiting - counts.sending };
  }

  pump() {
    while (this.running < PARALLEL) {
      const item = this.items.find(({ status }) => status === "waiting");
      if (!item) break;
      this.running += 1;
      item.status = "sending";
      this.send(item);
    }
    this.changed();
  }

  async send(item) {
    const { signal } = this.abort;
    try {
      item.image = await this.storePatiently(item, signal);
      item.status = item.image.status;
      this.storedListeners.forEach((tell) => tell(item.image));
    } catch (error) {
      item.status = signal.aborted ? "cancelled" : "failed";
      item.error = error;
    }
    item.file = null; // Thousands of files would otherwise stay open until the page closes.
    this.running -= 1;
    this.pump();
  }

  /** A node that is full says when to come back; that is no failure of the file. */
  async storePatiently({ file, uploadedBy, tags }, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await api.storeImage(file, { name: file.name, uploadedBy, tags, signal });
      } catch (error) {
        if (!(error instanceof ApiError) || !error.retryAfterS || attempt === ATTEMPTS) throw error;
        await pause(error.retryAfterS * 1000, signal);
      }
    }
  }

  cancel() {
    for (const item of this.items) if (item.status === "waiting") item.status = "cancelled";
    this.abort.abort();
    this.abort = new AbortController();
    this.changed();
  }

  clear() {
    this.items = [];
    this.changed();
  }

  changed() {
    if (this.redraw) return;
    this.redraw = setTimeout(() => {
      this.redraw = 0;
      this.listeners.forEach((tell) => tell());
    }, REDRAW_MS);
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  onStored(listener) {
    this.storedListeners.add(listener);
    return () => this.storedListeners.delete(listener);
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** Redraw the calling component when the queue moves. */
export function useUploads(queue) {
  const [, draw] = useState(0);
  useEffect(() => queue.subscribe(() => draw((count) => count + 1)), [queue]);
  return queue;
}
