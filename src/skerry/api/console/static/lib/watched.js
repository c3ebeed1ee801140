/** Things that live longer than a view, and tell the views when they move. */

import { useEffect, useState } from "../vendor/htm-preact.js";

const REDRAW_MS = 50;

/** What extends it calls `changed()` after a move; listeners hear of several moves at once. */
export class Watched {
  listeners = new Set();
  redraw = 0;

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
}

/** Redraw the calling component when `watched` moves. */
export function useWatched(watched) {
  const [, draw] = useState(0);
  useEffect(() => watched.subscribe(() => draw((count) => count + 1)), [watched]);
  return watched;
}
