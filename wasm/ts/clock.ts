/**
 * Clock: the milliseconds that everything in memory is reckoned by. They never go back, and the day of the wall is not among them.
 */

/** Tells the time. Inject one of your own to move time by hand, or where the host's stands still. */
export interface Clock {
  /** Milliseconds since some moment in the past. They never decrease. */
  now(): number;
}

/** How many readings share one look at the host's clock, at most. */
const SHARED_READINGS = 64;

/**
 * The host's monotonic clock. Looking at it costs more than a hit, so where timers do not keep the process alive a reading is
 * shared, for a millisecond and for a bounded number of times, whichever ends first.
 */
class HostClock implements Clock {
  #reading = 0;
  #left = 0;
  #isTimed = false;
  readonly #forget = (): void => {
    this.#left = 0;
    this.#isTimed = false;
  };

  now(): number {
    if (this.#left > 0) {
      this.#left--;
      return this.#reading;
    }
    this.#reading = performance.now();
    this.#left = SHARED_READINGS;
    if (!this.#isTimed) {
      this.#isTimed = true;
      (setTimeout(this.#forget, 1) as unknown as { unref(): void }).unref();
    }
    return this.#reading;
  }
}

/** Where a timer is no object, as in browsers and at the edge, it may fire late or not be allowed. */
class PlainClock implements Clock {
  now(): number {
    return performance.now();
  }
}

/** Whether timers are objects that can be told not to keep the process alive: in Node and Bun. */
function hasQuietTimers(): boolean {
  const { process, Deno, WebSocketPair } = globalThis as Record<string, unknown>;
  return (
    (process as { versions?: { node?: string } } | undefined)?.versions?.node !== undefined &&
    Deno === undefined &&
    WebSocketPair === undefined
  );
}

/** The clock of this host. */
export const hostClock: Clock = hasQuietTimers() ? new HostClock() : new PlainClock();

/** A clock that moves when told to, for tests. */
export class ManualClock implements Clock {
  /** As it is shown: what is packed has short names. */
  static readonly name = "ManualClock";
  #now = 1_000_000;

  now(): number {
    return this.#now;
  }

  /** Lets so many milliseconds pass. */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`time goes forward only: advance by ${ms} ms`);
    this.#now += ms;
  }
}
