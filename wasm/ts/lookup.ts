/**
 * Lookup: a hit, or a miss that holds the right to load. Between the look-up and the fill an invalidation voids the miss, so that
 * what was read before it is never stored after it.
 */
import { DonjonError } from "./errors.js";
import type { StoreOptions } from "./terms.js";
import type { Lease, Terms } from "./tier.js";
import type { Isolated } from "./value.js";

/** The key has a value. */
export class Hit<T> {
  /** As it is shown: what is packed has short names. */
  static readonly name = "Hit";
  readonly isHit = true;

  /** @internal */
  constructor(
    /** A copy of the value. */
    readonly value: T,
  ) {}

  /** There is nothing to give up: so that `await using` stands over either. */
  async [Symbol.asyncDispose](): Promise<void> {}
}

type Prepare = (value: unknown, options: StoreOptions | undefined) => { readonly kept: Isolated; readonly terms: Terms };

/** The key has no value, and whoever holds this may load it. */
export class LookupMiss<T> {
  /** As it is shown: what is packed has short names. */
  static readonly name = "LookupMiss";
  readonly isHit = false;
  readonly #prepare: Prepare;
  #lease: Lease | undefined;

  /** @internal */
  constructor(lease: Lease, prepare: Prepare) {
    this.#lease = lease;
    this.#prepare = prepare;
  }

  /**
   * Stores what was loaded, unless something was invalidated since the look-up; gives the copy that a reader would get, and whether
   * it is stored.
   *
   * @throws {@link DonjonError} where the miss was filled or given up before.
   */
  async fill(value: T, options?: StoreOptions): Promise<{ readonly value: T; readonly isStored: boolean }> {
    if (this.#lease === undefined) throw new DonjonError("this miss was filled or given up already: look the key up again");
    const { kept, terms } = this.#prepare(value, options);
    const lease = this.#lease;
    this.#lease = undefined;
    return (await lease.fill(kept, terms)) as { value: T; isStored: boolean };
  }

  /** Passes an error to those who wait, in the place of a value. */
  fail(error: unknown): void {
    this.#lease?.fail(error);
    this.#lease = undefined;
  }

  /** Gives up the right to load: those who wait look up anew, and one of them loads. */
  abandon(): void {
    this.#lease?.abandon();
    this.#lease = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abandon();
  }
}

export type Lookup<T> = Hit<T> | LookupMiss<T>;
