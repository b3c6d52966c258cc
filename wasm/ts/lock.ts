/**
 * Lock: one holder a name, for as long as it renews what it holds.
 *
 * No lock of this kind excludes for certain: a holder may be paused past its time and go on. Where that matters, hand `fence` to what
 * the lock protects, and have it refuse a number lower than the highest it has seen.
 */
import { ConfigError, LockLostError, LockTimeoutError } from "./errors.js";
import type { Held, Tier } from "./tier.js";
import { unref } from "./timers.js";

/** How a lock is taken. */
export interface LockOptions {
  /** How long it is held should its holder vanish; while the process runs it is renewed. Not for ever. */
  readonly ttl: number | string;
  /** Milliseconds to wait for it; 0 tries once. Default: 10,000. */
  readonly wait?: number | undefined;
  /** Gives the waiting up. */
  readonly signal?: AbortSignal | undefined;
}

/** When a lock is renewed, as the core has it: milliseconds since it was asked for. */
interface Pace {
  /** Then it is lost. */
  readonly sure: number;
  readonly renew: number;
  /** Where it is not known whether it was renewed. */
  readonly again: number;
  /** Whoever waits for it looks at least so often. */
  readonly look: number;
}

/** What a cache has to say of the times of its locks, which it checks. */
export interface LockTerms {
  /** Milliseconds. */
  readonly ttl: (ttl: number | string) => number;
  readonly pace: (ttl: number) => Pace;
}

/** A lock that is held. Given back by {@link Lock.release} or at the end of its `await using`. */
export class Lock {
  /** As it is shown: what is packed has short names. */
  static readonly name = "Lock";
  readonly name: string;
  /** Greater than in every earlier holding of this name. */
  readonly fence: number;
  readonly #held: Held;
  readonly #terms: LockTerms;
  #ttl: number;
  #pace: Pace;
  readonly #lost = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sureUntil: number;
  #isReleased = false;

  /** @internal */
  constructor(name: string, held: Held, terms: LockTerms, ttl: number, asked: number) {
    const pace = terms.pace(ttl);
    this.name = name;
    this.fence = held.fence;
    this.#held = held;
    this.#terms = terms;
    this.#ttl = ttl;
    this.#pace = pace;
    this.#sureUntil = asked + pace.sure;
    this.#renewIn(pace.renew - (performance.now() - asked));
  }

  /** Aborts when the lock was lost: its time ran out before it was renewed, and another may hold it. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** A hint: another may hold it a moment later. */
  get isHeld(): boolean {
    return !this.#isReleased && !this.#lost.signal.aborted && performance.now() < this.#sureUntil;
  }

  /**
   * Starts the time to live anew with `ttl`, which also counts for renewals from now on.
   *
   * @throws {@link LockLostError} where it was lost, or given back before.
   * @throws {@link BackendUnavailableError} where the store could not be asked: it is held for as long as it was before.
   */
  async extend(ttl: number | string): Promise<void> {
    const span = this.#terms.ttl(ttl);
    if (this.#isReleased) throw new LockLostError(`lock ${this.name} was given back already`);
    const asked = performance.now();
    if (!(await this.#held.extend(span))) {
      this.#lose();
      throw new LockLostError(`lock ${this.name} was lost before it was extended: another may hold it`);
    }
    if (this.#isReleased) return;
    clearTimeout(this.#timer);
    this.#ttl = span;
    this.#pace = this.#terms.pace(span);
    this.#sureUntil = asked + this.#pace.sure;
    this.#renewIn(this.#pace.renew - (performance.now() - asked));
  }

  /**
   * Gives the lock back.
   *
   * @throws {@link LockLostError} where it was lost, or given back before. Another's is left alone.
   */
  async release(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#isReleased) throw new LockLostError(`lock ${this.name} was given back already`);
    this.#isReleased = true;
    const isOurs = await this.#held.release();
    if (!isOurs || this.#lost.signal.aborted) {
      throw new LockLostError(`lock ${this.name} was lost before it was given back: another may have held it meanwhile`);
    }
  }

  /**
   * Gives the lock back, lost or not.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isReleased) return;
    await this.release().catch((error: unknown) => {
      if (!(error instanceof LockLostError)) throw error;
    });
  }

  #renewIn(ms: number): void {
    this.#timer = setTimeout(() => void this.#renew(), Math.max(1, Math.min(ms, 0x7fff_ffff)));
    // Held or not, a lock keeps no process alive.
    unref(this.#timer);
  }

  async #renew(): Promise<void> {
    const asked = performance.now();
    if (asked >= this.#sureUntil) return this.#lose();
    try {
      const isOurs = await within(this.#sureUntil - asked, this.#held.extend(this.#ttl));
      if (this.#isReleased) return;
      if (isOurs === false) return this.#lose();
      if (isOurs === true) {
        this.#sureUntil = asked + this.#pace.sure;
        return this.#renewIn(this.#pace.renew - (performance.now() - asked));
      }
    } catch {
      // Whether it was renewed is not known: tried again while it is sure.
    }
    if (!this.#isReleased) this.#renewIn(Math.min(this.#pace.again, this.#sureUntil - performance.now()));
  }

  #lose(): void {
    if (this.#isReleased) return;
    this.#lost.abort(new LockLostError(`lock ${this.name} was lost: it could not be renewed in time`));
  }
}

/** What `asked` gives, or `undefined` where it takes longer. */
async function within<T>(ms: number, asked: T | Promise<T>): Promise<T | undefined> {
  if (!(asked instanceof Promise)) return asked;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

/** Takes a lock, waiting for it where another holds it. */
export async function takeLock(tier: Tier, name: string, times: LockTerms["ttl"], options: LockOptions): Promise<Lock> {
  const { wait = 10_000, signal } = options;
  const terms = { ttl: times, pace: (span: number) => paceOf(tier, span) };
  const ttl = times(options.ttl);
  if (typeof wait !== "number" || !(wait >= 0)) throw new ConfigError("`wait` is milliseconds from 0 on; 0 tries once");
  const deadline = performance.now() + wait;
  const { look } = terms.pace(ttl);
  for (;;) {
    signal?.throwIfAborted();
    // It lasts from when it was asked for at least; what the store knows is later.
    const asked = performance.now();
    const held = await tier.lock(name, ttl);
    if (held !== undefined) {
      if (signal?.aborted !== true) return new Lock(name, held, terms, ttl, asked);
      await held.release();
      signal.throwIfAborted();
    }
    const left = deadline - performance.now();
    if (left <= 0) throw new LockTimeoutError(`lock ${name} is held by another: wait longer, or do without`);
    await tier.lockFreed(name, Math.min(left, look), signal);
  }
}

function paceOf(tier: Tier, ttl: number): Pace {
  return tier.text((core) => {
    core.begin().call("lock_pace", ttl);
    return { sure: core.register(0), renew: core.register(1), again: core.register(2), look: core.register(3) };
  });
}
