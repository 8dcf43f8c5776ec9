// Collects what arrives on its own time, so that a check can wait for it.

import { patienceMs } from './checks.mjs';

/** Everything that arrived and was not taken yet, oldest first. */
export class Inbox {
  #items = [];
  #waiting = [];

  push(item) {
    this.#items.push(item);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Takes the oldest item; rejects with `what` when none comes in time. */
  async next(what, timeoutMs = patienceMs) {
    const deadline = Date.now() + timeoutMs;
    while (this.#items.length === 0) {
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Error(`nothing came within ${timeoutMs} ms; expected ${what}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.#items.shift();
  }

  /** The number of items that nobody took. */
  get size() {
    return this.#items.length;
  }
}
