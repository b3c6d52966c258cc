/**
 * Texts: what keys, patterns, tags, times and rules mean. A core is asked that keeps no values: where it breaks off, nothing is lost, and
 * the next question starts another.
 */
import { Core, MEMORY, Trapped } from "./core.js";

export class Texts {
  readonly #prepare: (core: Core) => void;
  #core: Core | undefined;

  /** `prepare` sets up what texts mean in a new core. */
  constructor(prepare: (core: Core) => void) {
    this.#prepare = prepare;
  }

  ask<T>(call: (core: Core) => T): T {
    if (this.#core === undefined) {
      const core = new Core(MEMORY);
      this.#prepare(core);
      this.#core = core;
    }
    try {
      return call(this.#core);
    } catch (error) {
      if (error instanceof Trapped) this.#core = undefined;
      throw error;
    }
  }
}
