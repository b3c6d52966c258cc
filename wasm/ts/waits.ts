/**
 * Waits: the promises of those who wait for something that the core will say has ended, by the numbers that the core knows them by.
 */
import type { Core } from "./core.js";

/** Who waits, by number. A number is given again only once its wait is over. */
export class Waits {
  readonly #woken = new Map<number, () => void>();

  /** Has `wake` called when the core wakes the wait of this number. */
  add(wait: number, wake: () => void): void {
    this.#woken.set(wait, wake);
  }

  remove(wait: number): void {
    this.#woken.delete(wait);
  }

  /** Calls whom the core has woken. */
  settle(core: Core): void {
    while (core.hasWoken) {
      core.begin().call("take_woken");
      for (const wait of core.readCounts()) {
        const wake = this.#woken.get(wait);
        this.#woken.delete(wait);
        wake?.();
      }
    }
  }

  /** Calls all: the core that would have woken them is gone. */
  wakeAll(): void {
    const all = [...this.#woken.values()];
    this.#woken.clear();
    for (const wake of all) wake();
  }
}
