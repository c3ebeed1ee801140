/** Answers that come piece by piece: one at a time is written, and can be stopped. */

import { Watched } from "./watched.js";

export class Written extends Watched {
  abort = null;

  get busy() {
    return this.abort !== null;
  }

  /**
   * Fill `turn` by what `take(turn, event)` makes of the events of `begin(signal)`, and keep its
   * `phase`; what was being written before is let go.
   */
  async fill(turn, begin, take) {
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    this.changed();
    try {
      for await (const event of begin(abort.signal)) {
        take(turn, event);
        this.changed();
      }
      turn.phase = "done";
    } catch (error) {
      turn.phase = abort.signal.aborted ? "stopped" : "failed";
      turn.error = abort.signal.aborted ? null : error;
    }
    if (this.abort === abort) this.abort = null;
    this.changed();
  }

  /** Let go of the connection: the node frees what worked on it as soon as it notices. */
  stop() {
    this.abort?.abort();
    this.abort = null;
    this.changed();
  }

  set(changes) {
    Object.assign(this, changes);
    this.changed();
  }
}
