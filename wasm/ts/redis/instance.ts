/**
 * Instance: the core of one tier over a store, of the module that speaks to stores, and the one that is started in its place where it breaks off.
 *
 * Owns who waits for what the core will say has ended. Must not know what is asked of the store, nor what it answers.
 */
import type { TierTerms } from "../cache.js";
import { Core, Source, Trapped } from "../core.js";
import type { Isolated } from "../value.js";
import { NO_SEED, NoSeedError, drawSeed } from "../seed.js";
import { Waits } from "../waits.js";
import type { Call, Script } from "./script.js";
import { readCalls } from "./wire.js";

/** What a cache over a store needs beside the memory's module; each entry with a store brings it along. */
export const REMOTE = new Source();

/** All that is needed to tell what an entry without tags is. */
const START_BYTES = 52;

type HitStart = (written: number, beyond: number, clock: number) => number;

/** What a load has come to, while those who wait for it are woken. */
export type Passing = { readonly value: Isolated["kept"] } | { readonly error: unknown };

export class Instance {
  /** The tier's keys begin with this. */
  readonly prefix: string;
  readonly scripts: readonly Script[];
  readonly #terms: TierTerms;
  readonly #maxValueBytes: number;
  /** Whether what is being swept is read with each key. */
  readonly readsSweeps: boolean;
  readonly #restarted: (() => void)[] = [];
  #core!: Core;
  #hitStart!: HitStart;
  #startAt!: number;
  #start!: Uint8Array;
  #era = 0;
  #waits = new Waits();
  #passing: Passing | undefined;
  #isEnabled = true;
  #isSeeded = false;

  constructor(terms: TierTerms, maxValueBytes: number, readsSweeps: boolean) {
    this.#terms = terms;
    this.#maxValueBytes = maxValueBytes;
    this.readsSweeps = readsSweeps;
    const core = this.#open();
    core.begin().call("scripts");
    this.scripts = Array.from({ length: core.readCount() }, () => ({ keys: core.readCount(), text: core.readText() }));
    core.begin().text("k").call("name_of_key");
    this.prefix = core.readRest().slice(0, -1);
  }

  #open(): Core {
    const { namespace, jitter, early, loadTimeout } = this.#terms;
    const core = new Core(REMOTE);
    const seed = drawSeed();
    this.#isSeeded = seed !== undefined;
    core
      .begin()
      .bytes(seed ?? NO_SEED)
      .text(namespace);
    core.call("open_shared", jitter, early, loadTimeout, this.#maxValueBytes);
    if (!this.#isEnabled) core.begin().call("switch_shared", 0);
    if (this.readsSweeps) core.begin().call("read_sweeps");
    this.#core = core;
    this.#hitStart = core.calls["hit_start"] as HitStart;
    this.#startAt = core.calls["start_at"]!();
    this.#start = core.bytesAt(this.#startAt, START_BYTES);
    return core;
  }

  #restart(trapped: Trapped): void {
    this.#era++;
    this.#open();
    for (const restarted of this.#restarted) restarted();
    this.#terms.log(`the cache's core broke off and was started anew: ${trapped.message}`);
    const waits = this.#waits;
    this.#waits = new Waits();
    waits.wakeAll();
  }

  /** Has it called where the core was started anew: nothing is known any more. */
  whenRestarted(restarted: () => void): void {
    this.#restarted.push(restarted);
  }

  /** Grows with each core: what an earlier one has given a number is not known to a later one. */
  get era(): number {
    return this.#era;
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  set isEnabled(enabled: boolean) {
    this.#isEnabled = enabled;
    this.text((core) => core.begin().call("switch_shared", enabled ? 1 : 0));
  }

  /** Makes a call of the core; one that breaks off is replaced, and what was asked fails. */
  ask<T>(call: (core: Core) => T): T {
    if (!this.#isSeeded) {
      this.#open();
      if (!this.#isSeeded) throw new NoSeedError();
    }
    return this.text(call);
  }

  /** As {@link Instance.ask}, of what can be asked before there is a seed: what texts mean, and what has been counted. */
  text<T>(call: (core: Core) => T): T {
    try {
      return call(this.#core);
    } catch (error) {
      if (error instanceof Trapped) this.#restart(error);
      throw error;
    } finally {
      if (this.#core.hasWoken) this.#waits.settle(this.#core);
    }
  }

  /** As {@link Instance.ask}, of a call that ends a load: those who waited for it get what it has come to. */
  pass<T>(passing: Passing | undefined, call: (core: Core) => T): T {
    this.#passing = passing;
    try {
      return this.ask(call);
    } finally {
      this.#passing = undefined;
    }
  }

  /** Has it called when a wait is over: with how it ended, and what was passed then; without, where that is not known. */
  wait(number: number, over: (ending?: number, passing?: Passing) => void): void {
    const era = this.#era;
    this.#waits.add(number, () => {
      if (era === this.#era) over(this.#core.begin().call("shared_ending", number), this.#passing);
      else over();
    });
  }

  waitNoMore(number: number): void {
    this.#waits.remove(number);
    this.ask((core) => core.begin().call("shared_leave", number));
  }

  /** The calls that a call of the core has written. */
  calls(ask: (core: Core) => unknown): Call[] {
    return this.ask((core) => {
      ask(core);
      return readCalls(core);
    });
  }

  /** The full name of a lock, of where it is told that it is free, of a channel, or of the list of what is being swept. */
  nameOf(text: string, what: 0 | 1 | 2 | 3): string {
    return this.ask((core) => {
      core.begin().text(text).call("name_of", what);
      return core.readRest();
    });
  }

  /**
   * Where in some bytes a value begins that can be served without another question, plus one, counted as a hit; 0, counted as
   * nothing, where there is none. How it is encoded {@link Instance.codec} says.
   */
  hitStart(bytes: Uint8Array, clock: number): number {
    const written = Math.min(bytes.length, START_BYTES);
    try {
      // The module's memory moves when it grows.
      if (this.#start.length === 0) this.#start = this.#core.bytesAt(this.#startAt, START_BYTES);
      const start = this.#start;
      for (let at = 0; at < written; at++) start[at] = bytes[at]!;
      return this.#hitStart(written, bytes.length - written, clock);
    } catch (error) {
      const trapped = this.#core.trap(error);
      if (!(trapped instanceof Trapped)) throw error;
      this.#restart(trapped);
      return 0;
    }
  }

  get codec(): number {
    return this.#core.register(0);
  }
}
