/**
 * Renewals: keeps the leases of loads that run from running out, with one timer for all of them and none while there are none.
 */
import { unref } from "../timers.js";
import type { Engine } from "./engine.js";

/** A third of a lease, in milliseconds. */
const RENEW_EVERY = 660;

/** A pause in which a lease runs out. */
const STILL = 1_300;

export class Renewals {
  readonly #engine: Engine;
  readonly #log: (message: string) => void;
  readonly #leases = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #saidStoodStill = false;

  constructor(engine: Engine, log: (message: string) => void) {
    this.#engine = engine;
    this.#log = log;
    engine.instance.whenRestarted(() => this.#leases.clear());
  }

  add(lease: number): void {
    this.#leases.add(lease);
    if (this.#timer === undefined) this.#round();
  }

  /** From here on the number of the lease may be another's. */
  remove(lease: number): void {
    this.#leases.delete(lease);
  }

  #round(): void {
    const before = performance.now();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const stoodStill = performance.now() - before - RENEW_EVERY;
      if (stoodStill > STILL && !this.#saidStoodStill) {
        this.#saidStoodStill = true;
        this.#log(
          `what runs the loads stood still for ${Math.round(stoodStill)} ms, too long to keep their leases: what they load is not stored`,
        );
      }
      if (this.#leases.size === 0) return;
      const { instance } = this.#engine;
      const calls = [...this.#leases].flatMap((lease) => instance.calls((core) => core.begin().call("renewal", lease)));
      // A lease that is not renewed in time is void, which its fill finds out.
      this.#engine.sayAside(calls);
      this.#round();
    }, RENEW_EVERY);
    unref(this.#timer);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
