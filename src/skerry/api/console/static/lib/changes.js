/** Word of changed images, so that every view shows the same truth. */

import { useEffect } from "../vendor/htm-preact.js";

export class ImageChanges {
  listeners = new Set();

  /** `kind` is stored, changed or deleted; a deleted image needs only its `id`. */
  tell(kind, image) {
    this.listeners.forEach((listener) => listener(kind, image));
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export function useImageChanges(changes, listener, inputs = []) {
  useEffect(() => changes.subscribe(listener), [changes, ...inputs]);
}
