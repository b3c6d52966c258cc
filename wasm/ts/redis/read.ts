/**
 * Read: the value under a key, and what else is known of it, as callers ask who load nothing.
 *
 * Most reads are one question on a line that is open, and one call of the core about the start of what was answered.
 */
import type { Explained } from "../tier.js";
import { DecodeError } from "../value.js";
import { Fault, type Reply } from "./connection.js";
import type { Engine } from "./engine.js";
import type { Reader } from "./line.js";
import { AT_ONCE, asBytes, asFault, inParts, mayBeAgain, readPage } from "./replies.js";
import { plain } from "./script.js";
import type { Via } from "./via.js";
import { type Seen, type Sight, decode, readSight, writeOutcome } from "./wire.js";

export class Reads implements Reader {
  readonly #engine: Engine;
  decodeErrors = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get(key: string): Promise<unknown> {
    const { instance, owed, link, keeper } = this.#engine;
    const via = instance.isEnabled ? keeper?.via() : undefined;
    const line = via?.line ?? (instance.isEnabled && !owed.isOwing ? link.ready : undefined);
    if (line === undefined) return this.getSlowly(key, via);
    return line.get(instance.prefix + key, key, via === undefined ? this : new KeptRead(this, via));
  }

  /** Of what was answered: a hit, most times. */
  got(key: string, bytes: Uint8Array | null, via?: Via): unknown {
    if (bytes === null) {
      this.#engine.keeper?.missed(via, key);
      return this.#countMiss();
    }
    try {
      return this.plainly(key, bytes, via) ?? this.#judged(key, bytes, via);
    } catch (error) {
      return this.undecodable(key, error);
    }
  }

  gotNothing(key: string, error: unknown): unknown {
    return mayBeAgain(error) ? this.getSlowly(key) : this.#gotNone(error);
  }

  /**
   * A value that can be served without another question, counted as a hit; `undefined`, counted as nothing, where there is none.
   * Memory may have it where it was read under `via`.
   */
  plainly(key: string, bytes: Uint8Array, via: Via | undefined): unknown {
    const { instance, link, keeper } = this.#engine;
    const from = instance.hitStart(bytes, link.clockOfTurn());
    if (from === 0) return undefined;
    const value = decode(bytes, from - 1, instance.codec);
    keeper?.admit(via, key, value, bytes);
    return value;
  }

  async getSlowly(key: string, via?: Via): Promise<unknown> {
    const { instance } = this.#engine;
    if (!instance.isEnabled) return this.#countMiss();
    let bytes: Uint8Array | null;
    try {
      bytes = asBytes((await this.#engine.readBy([plain("GET", instance.prefix + key)]))[0]);
    } catch (error) {
      return this.#gotNone(error);
    }
    return this.got(key, bytes, via);
  }

  #gotNone(error: unknown): undefined {
    this.#engine.notice(error);
    return this.#countMiss();
  }

  #countMiss(): undefined {
    this.#count(undefined);
  }

  #count(seen: Seen | undefined): void {
    const clock = this.#engine.link.clock();
    this.#engine.instance.ask((core) => core.begin().call("count_read", seen?.number ?? -1, clock));
  }

  /** The value that bytes are, counted; `undefined` where they are none. */
  async #judged(key: string, bytes: Uint8Array | null, via?: Via): Promise<unknown> {
    const seen = await this.#see(bytes, via);
    this.#count(seen);
    if (seen === undefined) {
      this.#engine.keeper?.missed(via, key);
      return undefined;
    }
    this.forget(seen);
    try {
      const value = decode(seen.payload, 0, seen.codec);
      this.#engine.keeper?.admit(via, key, value, bytes!);
      return value;
    } catch (error) {
      this.undecodable(key, error);
      return undefined;
    }
  }

  /** Counts a value that cannot be read, which is none. */
  undecodable(key: string, error: unknown): undefined {
    if (!(error instanceof DecodeError)) throw error;
    this.decodeErrors++;
    this.#engine.tell(`the value of ${key} cannot be read: ${error.message}`);
  }

  /** What is under a key, its tags known. */
  async #see(bytes: Uint8Array | null, via?: Via): Promise<Seen | undefined> {
    const { instance, link } = this.#engine;
    const clock = link.clock();
    const first = instance.ask((core) => {
      core.begin();
      if (bytes !== null) core.sized(bytes);
      return readSight(core, core.call("see", bytes === null ? 0 : 1, clock));
    });
    if (!("calls" in first)) return "number" in first ? first : undefined;
    const replies = await this.#engine.readVia(via, first.calls).catch(asFault);
    const second = this.#seeTagged(first.tagged, replies, clock);
    return "number" in second ? second : undefined;
  }

  #seeTagged(tagged: number, outcome: readonly Reply[] | Fault, clock: number): Sight {
    return this.#engine.instance.ask((core) => readSight(core, writeOutcome(core.begin(), outcome).call("see_tagged", tagged, clock)));
  }

  /** Whether what is under a key is dead, or somebody's lease. */
  async isReplaceable(bytes: Uint8Array): Promise<boolean> {
    const { instance, link } = this.#engine;
    const clock = link.clock();
    let sight = instance.ask((core) => readSight(core, core.begin().sized(bytes).call("see", 1, clock)));
    if ("calls" in sight) {
      const { tagged, calls } = sight;
      const outcome = await this.#engine.readBy(calls).catch(asFault);
      if (outcome instanceof Fault) throw outcome;
      sight = this.#seeTagged(tagged, outcome, clock);
    }
    if ("number" in sight) this.forget(sight);
    return "isReplaceable" in sight;
  }

  forget(seen: Seen): void {
    this.#engine.instance.ask((core) => core.begin().call("forget_seen", seen.number));
  }

  async getMany(keys: readonly string[]): Promise<unknown[]> {
    if (keys.length === 0) return [];
    const { instance, keeper } = this.#engine;
    if (!instance.isEnabled) return Promise.all(keys.map((key) => this.getSlowly(key)));
    const via = keeper?.via();
    let found: readonly Reply[];
    try {
      const names = keys.map((key) => instance.prefix + key);
      const answers = await this.#engine.readVia(via, inParts("MGET", names));
      found = answers.flatMap((answer) => (Array.isArray(answer) ? (answer as Reply[]) : []));
      if (found.length !== keys.length) throw new Fault("protocol");
    } catch (error) {
      this.#engine.notice(error);
      found = keys.map(() => null);
    }
    return Promise.all(keys.map((key, at) => this.got(key, asBytes(found[at]), via)));
  }

  /** What is under a key; to be forgotten. `undefined` without a value. */
  async sighted(key: string): Promise<Seen | undefined> {
    const { instance } = this.#engine;
    if (!instance.isEnabled) return undefined;
    const [bytes] = await this.#engine.readBy([plain("GET", instance.prefix + key)]);
    return this.#see(asBytes(bytes));
  }

  /** What is known of a key; `undefined` without a value. */
  async #look(key: string): Promise<Seen | undefined> {
    const seen = await this.sighted(key);
    if (seen === undefined) return undefined;
    this.forget(seen);
    if (!seen.isCounter) return seen;
    const [left] = await this.#engine.readBy([plain("PTTL", this.#engine.instance.prefix + key)]);
    const freshFor = typeof left === "number" && left >= 0 ? left : Infinity;
    return { ...seen, freshFor, usableFor: freshFor };
  }

  /** As {@link Reads.#look}; where Redis cannot be asked there is none, as for every read. */
  async #facts(key: string): Promise<Seen | undefined> {
    try {
      return await this.#look(key);
    } catch (error) {
      this.#engine.notice(error);
      return undefined;
    }
  }

  async exists(key: string): Promise<boolean> {
    return (await this.#facts(key)) !== undefined;
  }

  async ttl(key: string): Promise<number | undefined> {
    return (await this.#facts(key))?.freshFor;
  }

  async explain(key: string): Promise<Explained> {
    const { near } = this.#engine;
    return { ...(near?.explain(key) ?? (await this.#explain(key))), ...near?.state() };
  }

  async #explain(key: string): Promise<Explained> {
    const none = { age: undefined, loadingFor: undefined, removedAgo: undefined } as const;
    const absent = (whyAbsent: string): Explained => {
      return {
        ...none,
        tier: undefined,
        state: "absent",
        whyAbsent,
        freshFor: undefined,
        usableFor: undefined,
        loadTime: undefined,
        bytes: undefined,
        tags: [],
      };
    };
    if (!this.#engine.instance.isEnabled) return absent("the cache is switched off");
    let seen: Seen | undefined;
    try {
      seen = await this.#look(key);
    } catch (error) {
      return { ...absent(this.#engine.unavailable(error).message), state: "unknown" };
    }
    const { name } = this.#engine;
    if (seen === undefined) return absent(`not in ${name}, or invalidated, expired, or being loaded`);
    const { freshFor, usableFor, loadTime, tags, payload } = seen;
    const state = freshFor > 0 ? "fresh" : "stale";
    return { ...none, tier: name, state, whyAbsent: undefined, freshFor, usableFor, loadTime, bytes: payload.length, tags };
  }

  async *keys(pattern: string): AsyncGenerator<readonly string[]> {
    const { instance } = this.#engine;
    const glob = instance.ask((core) => {
      core.begin().text(pattern).call("matching");
      return core.readRest();
    });
    if (!instance.isEnabled) return;
    let [cursor, names]: [string, Uint8Array[]] = ["0", []];
    do {
      let starts: readonly Reply[];
      try {
        const scan = plain("SCAN", cursor, "MATCH", glob, "COUNT", String(AT_ONCE));
        const [page] = await this.#engine.readBy([scan]);
        [cursor, names] = readPage(page);
        starts = await this.#engine.readBy(names.map((name) => plain("GETRANGE", name, "0", "3")));
      } catch (error) {
        throw this.#engine.unavailable(error);
      }
      const values = names.filter((_, at) => this.#isValue(starts[at]!));
      yield values.map((name) => new TextDecoder().decode(name).slice(instance.prefix.length));
    } while (cursor !== "0");
  }

  /** Whether what begins like this is a value, and not somebody's right to load one. */
  #isValue(start: Reply): boolean {
    return this.#engine.instance.ask((core) => writeOutcome(core.begin(), [start, 1]).call("count_removed")) === 1;
  }
}

/** A read whose answer memory may have. */
class KeptRead implements Reader {
  readonly #reads: Reads;
  readonly #via: Via;

  constructor(reads: Reads, via: Via) {
    this.#reads = reads;
    this.#via = via;
  }

  got(key: string, bytes: Uint8Array | null): unknown {
    return this.#reads.got(key, bytes, this.#via);
  }

  gotNothing(key: string, error: unknown): unknown {
    // What went wrong on the line that is told of changes need not go wrong on the other.
    return this.#via.line === undefined ? this.#reads.gotNothing(key, error) : this.#reads.getSlowly(key);
  }
}
