/**
 * Near: memory in front of Redis, or of another store. Here are the values, and a table from keys to their numbers; what may enter and
 * what may be served is decided by a core of its own.
 *
 * Must not know how a connection works: it is told what one was told. Invariant: after each call into the core that may let values go,
 * they are gone from here before anything is read. A core that breaks off takes with it all that is here.
 */
import { Core, Source, Trapped } from "../core.js";
import { readExplained, readNearStats } from "../readings.js";
import { NoSeedError, drawSeed } from "../seed.js";
import type { Coherence, Explained, Stats } from "../tier.js";
import { copy, weigh } from "../value.js";
import type { Outline } from "./outline.js";
import { SteadyClock } from "./steady.js";
import { KEY, PATTERN, TAG, type Target } from "./wire.js";

/** What a cache with memory in front of its store needs beside the other modules; the entry of such a store brings it along. */
export const NEAR = new Source();

/** How much memory, in bytes and values, and for how long it has a value, or serves one as stale: milliseconds. */
export interface NearTerms {
  readonly maxBytes: number;
  readonly maxEntries: number | undefined;
  readonly ttl: number;
  readonly maxStale: number;
}

/** What an entry takes beside its key and value: its places in the tables, more or less filled. */
const ENTRY_BYTES = 72;

/** More than an entry may have before its payload: 64 tags of 256 bytes. */
const MOST_BEFORE_PAYLOAD = 18 << 10;

/** How a connection is told of changes: itself, by way of another, or not at all. */
const TOLD = { itself: 0, aside: 1, nobody: 2 } as const;

const IN = 1;
const COUNTER = 2;

type Hit = (number: number, now: number) => number;

export class Near {
  readonly clock = new SteadyClock();
  readonly terms: NearTerms;
  readonly #namespace: string;
  readonly #log: (message: string) => void;
  #core: Core | undefined;
  #hit!: Hit;
  #guard: () => number = () => 0;
  #numbers = new Map<string, number>();
  #values: unknown[] = [];
  #keys: (string | undefined)[] = [];
  #free: number[] = [];
  #isEnabled = true;
  /** Is called where the core was lost, and with it what it knew of the connection. */
  lost: () => void = () => undefined;

  constructor(terms: NearTerms, namespace: string, log: (message: string) => void) {
    this.terms = terms;
    this.#namespace = namespace;
    this.#log = log;
  }

  /** Starts the core where it is not there yet, and says whether it was not: memory that nothing has been read for needs none. */
  open(): boolean {
    if (this.#core !== undefined) return false;
    const seed = drawSeed();
    if (seed === undefined) throw new NoSeedError();
    const { maxBytes, maxEntries, ttl, maxStale } = this.terms;
    const core = new Core(NEAR);
    core
      .begin()
      .bytes(seed)
      .text(this.#namespace)
      .call("open_near", maxBytes, maxEntries ?? -1, ttl, maxStale);
    if (!this.#isEnabled) core.begin().call("switch_near", 0);
    this.#hit = core.calls["near_hit"] as Hit;
    this.#guard = core.calls["near_guard"] as () => number;
    this.#core = core;
    return true;
  }

  /** Makes a call, where there is a core. */
  #ask<T>(call: (core: Core) => T): T | undefined {
    const core = this.#core;
    if (core === undefined) return undefined;
    try {
      return call(core);
    } catch (error) {
      this.#trapped(error);
      return undefined;
    } finally {
      if (this.#core?.hasLeft === true) this.#settle(this.#core);
    }
  }

  #trapped(error: unknown): void {
    const trapped = error instanceof Trapped ? error : this.#core?.trap(error);
    if (!(trapped instanceof Trapped)) throw error;
    this.#core = undefined;
    this.#guard = () => 0;
    this.#numbers = new Map();
    this.#values = [];
    this.#keys = [];
    this.#free = [];
    this.#log(`the core of the memory in front of the store broke off and is started anew, empty: ${trapped.message}`);
    this.lost();
  }

  #settle(core: Core): void {
    core.begin().call("take_left");
    for (const number of core.readCounts()) {
      const key = this.#keys[number];
      // Another may have taken its place under the same key.
      if (key !== undefined && this.#numbers.get(key) === number) this.#numbers.delete(key);
      this.#release(number);
    }
  }

  #release(number: number): void {
    this.#values[number] = undefined;
    this.#keys[number] = undefined;
    this.#free.push(number);
  }

  // -- served

  /** A copy of a value that may be served, counted as a hit; `undefined`, counted as nothing, where there is none. */
  hit(key: string): unknown {
    const number = this.#numbers.get(key);
    if (number === undefined) return undefined;
    try {
      if (this.#hit(number, this.clock.now()) !== 0) return copy(this.#values[number]);
    } catch (error) {
      this.#trapped(error);
      return undefined;
    }
    return this.terms.maxStale === 0 ? undefined : this.#stale(key);
  }

  #stale(key: string): unknown {
    const found = this.#ask((core) => core.begin().text(key).call("near_find", this.clock.now())) ?? 0;
    return found === 0 ? undefined : copy(this.#values[found - 1]);
  }

  // -- entering

  /** To be taken before anything is sent whose answer may enter. */
  guard(): number {
    try {
      return this.#guard();
    } catch (error) {
      this.#trapped(error);
      return 0;
    }
  }

  /**
   * Lets a copy of a value in that was answered with these bytes, unless something changed since the guard was taken; whether it is a
   * counter, of which nobody here knows how long it lives. `clock` is Redis's at `now`, from when on memory has it.
   */
  admit(guard: number, key: string, value: unknown, answer: Uint8Array, clock: number, now = this.clock.now()): "counter" | undefined {
    const start = answer.length <= MOST_BEFORE_PAYLOAD ? answer : answer.subarray(0, MOST_BEFORE_PAYLOAD);
    const beyond = answer.length - start.length;
    const came = this.#admit(key, value, (core, number, bytes) =>
      core.begin().text(key).sized(start).call("near_admit", guard, number, bytes, beyond, now, clock),
    );
    return came === COUNTER ? "counter" : undefined;
  }

  /** As {@link Near.admit}, of a value that Redis has taken. */
  admitTaken(guard: number, key: string, value: unknown, outline: Outline, clock: number, now = this.clock.now()): void {
    const { freshUntil, usableUntil, tables } = outline;
    this.#admit(key, value, (core, number, bytes) =>
      core.begin().text(key).sized(tables).call("near_admit_taken", guard, number, bytes, freshUntil, usableUntil, now, clock),
    );
  }

  /** As {@link Near.admit}, of a counter, by what `PTTL` answered. */
  admitCounter(guard: number, key: string, value: unknown, left: number, clock: number): void {
    this.#admit(key, value, (core, number, bytes) =>
      core.begin().text(key).call("near_admit_counter", guard, number, bytes, left, this.clock.now(), clock),
    );
  }

  /** Gives a value a number under which a call may let it in; what that gave. */
  #admit(key: string, value: unknown, call: (core: Core, number: number, bytes: number) => number): number | undefined {
    if (!this.#isEnabled) return undefined;
    // Not checked as what a caller stores is: others may have put there what this package would refuse.
    const [kept, bytes] = [copy(value), weigh(value) + ENTRY_BYTES];
    return this.#ask((core) => {
      const number = this.#free.pop() ?? this.#values.length;
      this.#values[number] = kept;
      this.#keys[number] = key;
      const came = call(core, number, bytes);
      if (came === IN) this.#numbers.set(key, number);
      else this.#release(number);
      return came;
    });
  }

  // -- leaving

  /** A connection is told of changes from now on, or nobody is. */
  track(told: keyof typeof TOLD): void {
    this.#ask((core) => core.begin().call("track", TOLD[told]));
  }

  /** There is no such connection any more. */
  untrack(): void {
    this.#ask((core) => core.begin().call("untrack"));
  }

  /** It gave a sign of life, which it was asked for then. */
  answered(asked: number): void {
    this.#ask((core) => core.begin().call("answered", asked));
  }

  /**
   * It was told that what has these names in Redis changed, or with `null` that everything did. Whether the list of what is being swept
   * is among them: then nothing is believed until that was read, and {@link Near.settled}.
   */
  changed(names: readonly Uint8Array[] | null): boolean {
    const now = this.clock.now();
    let isOfSweeps = false;
    if (names === null) this.#ask((core) => core.begin().call("flushed", now));
    else for (const name of names) isOfSweeps = this.#ask((core) => core.begin().sized(name).call("pushed", now)) === 1 || isOfSweeps;
    return isOfSweeps;
  }

  /** Under what the list is to be read; 0 where there is no need to. */
  doubted(): number {
    return this.#ask((core) => core.run(() => core.calls["doubted"]!())) ?? 0;
  }

  /** What was read under that is known, and what it covers was forgotten. */
  settled(doubt: number): void {
    this.#ask((core) => core.begin().call("settled", doubt));
  }

  /** This process is about to change keys, or just has. */
  forget(keys: readonly string[]): void {
    this.#ask((core) => core.begin().texts(keys).call("near_forget", this.clock.now()));
  }

  /** As {@link Near.forget}, of the keys that match. */
  forgetMatching(pattern: string): void {
    this.#ask((core) => core.begin().text(pattern).call("near_forget_matching", this.clock.now()));
  }

  /** As {@link Near.forget}, of what carries one of these tags. */
  forgetTags(tags: readonly string[]): void {
    this.#ask((core) => core.begin().texts(tags).call("near_forget_tags"));
  }

  /** As {@link Near.forget}, of what an invalidation covers. */
  forgetTargets(targets: readonly Target[]): void {
    for (const target of targets) {
      if (target.kind === KEY) this.forget([target.text]);
      else if (target.kind === TAG) this.forgetTags([target.text]);
      else this.forgetMatching(target.kind === PATTERN ? target.text : "*");
    }
  }

  /** Lets leave whose time is over, some at a time; whether there is more. */
  tidy(limit: number): boolean {
    return this.#ask((core) => core.begin().call("near_tidy", limit, this.clock.now())) === 1;
  }

  // -- the rest

  /** There is no connection to be had that is told. */
  giveUp(): void {
    this.#ask((core) => core.begin().call("give_up"));
  }

  /** How the names of all begin that memory depends on. */
  prefixes(): Uint8Array[] {
    return (
      this.#ask((core) => {
        core.begin().call("near_prefixes");
        return Array.from({ length: core.readCount() }, () => core.readSized().slice());
      }) ?? []
    );
  }

  /** What is believed, and milliseconds since a change was told. */
  state(): { readonly coherence: Coherence; readonly lastPush: number | undefined } {
    const known = this.#ask((core) => {
      core.begin().call("near_state", this.clock.now());
      const lastPush = core.register(0);
      return { coherence: core.readRest() as Coherence, lastPush: Number.isNaN(lastPush) ? undefined : lastPush };
    });
    return known ?? { coherence: "suspect", lastPush: undefined };
  }

  /** What is known of a key that would be served; `undefined` where it would not. */
  explain(key: string): Explained | undefined {
    return this.#ask((core) => {
      if (core.begin().text(key).call("near_explain", this.clock.now()) === 0) return undefined;
      // Of its tags memory knows but the tables.
      return { ...readExplained(core, "memory"), tags: [] };
    });
  }

  /** What was counted here, and what the tier behind has counted. `own` are the hits of who asks, where others share this memory. */
  addTo(stats: Stats, own = -1): Stats {
    const counts = this.#ask((core) => {
      core.begin().call("near_stats", stats.hits, stats.stale, stats.misses, own);
      return readNearStats(core);
    });
    if (counts === undefined) return stats;
    const sum = (name: "evictions" | "expirations" | "entries" | "bytes"): number => stats[name] + counts[name];
    return {
      ...stats,
      ...counts,
      evictions: sum("evictions"),
      expirations: sum("expirations"),
      entries: sum("entries"),
      bytes: sum("bytes"),
    };
  }

  resetStats(): void {
    this.#ask((core) => core.begin().call("reset_near_stats"));
  }

  switch(enabled: boolean): void {
    this.#isEnabled = enabled;
    this.#ask((core) => core.begin().call("switch_near", enabled ? 1 : 0));
  }
}
