/** Files on their way to the node: a few at a time, each with its own result. */

import { ApiError } from "../api.js";
import { pathOf } from "./files.js";
import { Watched } from "./watched.js";

const PARALLEL = 3;
const ATTEMPTS = 6;

/** One queue for the whole page: it goes on while its owner looks at another view. */
export class UploadQueue extends Watched {
  items = [];
  running = 0;
  abort = new AbortController();
  storedListeners = new Set();

  /** `store(file, {...fields, signal})` resolves to what the node says of it, with its `status`. */
  constructor(store) {
    super();
    this.store = store;
  }

  /** Queue `files`, each to be stored with `fieldsFor(file)`. */
  add(files, fieldsFor) {
    if (!this.busy) this.items = [];
    for (const file of files) {
      this.items.push({ key: this.items.length, file, name: pathOf(file), status: "waiting", error: null, stored: null, fields: fieldsFor(file) });
    }
    this.pump();
  }

  get busy() {
    return this.running > 0 || this.items.some((item) => item.status === "waiting");
  }

  get counts() {
    const counts = { total: this.items.length, failed: 0, waiting: 0, sending: 0 };
    for (const { status } of this.items) counts[status] = (counts[status] ?? 0) + 1;
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
      item.stored = await this.storePatiently(item, signal);
      item.status = item.stored.status;
      this.storedListeners.forEach((tell) => tell(item.stored));
    } catch (error) {
      item.status = signal.aborted ? "cancelled" : "failed";
      item.error = error;
    }
    item.file = null; // Thousands of files would otherwise stay open until the page closes.
    this.running -= 1;
    this.pump();
  }

  /** A node that is full says when to come back; that is no failure of the file. */
  async storePatiently({ file, fields }, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.store(file, { ...fields, signal });
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
