/** Word of what changed on the node, so that every view shows the same truth. */

import { useEffect } from "../vendor/htm-preact.js";

export class Changes {
  listeners = new Set();

  /** `kind` is stored, changed or deleted; of what is deleted, `item` needs only its `id`. */
  tell(kind, item) {
    this.listeners.forEach((listener) => listener(kind, item));
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export function useChanges(changes, listener, inputs = []) {
  useEffect(() => changes.subscribe(listener), [changes, ...inputs]);
}
