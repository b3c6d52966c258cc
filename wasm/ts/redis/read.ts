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
import { AT_ONCE, asBytes, asFault, mayBeAgain, readPage, slices } from "./replies.js";
import { plain } from "./script.js";
import type { Via } from "./via.js";
import { type Seen, type Sight, decode, readCalls, readSight, writeOutcome } from "./wire.js";

/** In the place of a value: it has to be judged. */
const JUDGED = Symbol("judged");

/** What was read of a key. */
interface Read {
  readonly bytes: Uint8Array | null;
  readonly list: Uint8Array | null;
}

const NOTHING = new Uint8Array();

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
  got(key: string, bytes: Uint8Array | null, list: Uint8Array | null, via?: Via): unknown {
    const value = this.#served(key, bytes, list, via);
    return value === JUDGED ? this.#judged([key], [bytes!], via).then(([value]) => value) : value;
  }

  /** What is served of it without another question, if only nothing; else {@link JUDGED}, as it has to be. */
  #served(key: string, bytes: Uint8Array | null, list: Uint8Array | null, via: Via | undefined): unknown {
    // Asked of nothing too, so that what is being swept is heeded at once.
    if (this.#engine.sweeps.isSwept(list, key, bytes ?? NOTHING) || bytes === null) {
      this.#engine.keeper?.missed(via, key);
      return this.#countMiss();
    }
    try {
      return this.plainly(key, bytes, via) ?? JUDGED;
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
    let read: Read;
    try {
      read = await this.#read(key);
    } catch (error) {
      return this.#gotNone(error);
    }
    return this.got(key, read.bytes, read.list, via);
  }

  /** What is under a key, and on the list of what is being swept. */
  async #read(key: string): Promise<Read> {
    const { instance, sweeps } = this.#engine;
    const { found, list } = sweeps.split((await this.#engine.readBy([sweeps.read(instance.prefix + key)]))[0]);
    return { bytes: asBytes(found[0]), list };
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

  /** The values that bytes are, counted; `undefined` where they are none. */
  async #judged(keys: readonly string[], found: readonly Uint8Array[], via?: Via): Promise<unknown[]> {
    const sights = await this.#see(found, via, (fault) => this.#engine.notice(fault));
    return sights.map((sight, at) => {
      const [key, seen] = [keys[at]!, seenOf(sight)];
      this.#count(seen);
      if (seen === undefined) {
        this.#engine.keeper?.missed(via, key);
        return undefined;
      }
      this.forget(seen);
      try {
        const value = decode(seen.payload, 0, seen.codec);
        this.#engine.keeper?.admit(via, key, value, found[at]!);
        return value;
      } catch (error) {
        return this.undecodable(key, error);
      }
    });
  }

  /** Counts a value that cannot be read, which is none. */
  undecodable(key: string, error: unknown): undefined {
    if (!(error instanceof DecodeError)) throw error;
    this.decodeErrors++;
    this.#engine.tell(`the value of ${key} cannot be read: ${error.message}`);
  }

  /** What is under keys. Each table that has some of their tags is asked once; where that fails, nothing is where tags are. */
  async #see(found: readonly (Uint8Array | null)[], via: Via | undefined, failed: (fault: Fault) => void): Promise<Sight[]> {
    const { instance, link } = this.#engine;
    const { era } = instance;
    const clock = link.clock();
    const sights = instance.ask((core) =>
      found.map((bytes) => {
        core.begin();
        if (bytes !== null) core.sized(bytes);
        return readSight(core, core.call("see", bytes === null ? 0 : 1, clock));
      }),
    );
    const tagged = sights.flatMap((sight) => ("tagged" in sight ? sight.tagged : []));
    if (tagged.length === 0) return sights;
    const { asking, calls } = instance.ask((core) => {
      core.begin().count(tagged.length);
      for (const number of tagged) core.count(number);
      core.call("ask_about");
      return { asking: core.register(0), calls: readCalls(core) };
    });
    const outcome = await this.#engine.readVia(via, calls).catch(asFault);
    if (outcome instanceof Fault) failed(outcome);
    // Of what it was asked about, a core that was started since knows nothing.
    if (era !== instance.era) return sights.map((sight) => ("tagged" in sight ? {} : sight));
    return instance.ask((core) => {
      writeOutcome(core.begin(), outcome).call("tags_told", asking);
      return sights.map((sight) => ("tagged" in sight ? readSight(core, core.begin().call("see_tagged", sight.tagged, clock)) : sight));
    });
  }

  /** Whether what is under a key is dead, or somebody's lease. */
  async isReplaceable(bytes: Uint8Array): Promise<boolean> {
    let fault: Fault | undefined;
    const [sight] = await this.#see([bytes], undefined, (failed) => (fault = failed));
    if (fault !== undefined) throw fault;
    const seen = seenOf(sight!);
    if (seen !== undefined) this.forget(seen);
    return "isReplaceable" in sight!;
  }

  forget(seen: Seen): void {
    this.#engine.instance.ask((core) => core.begin().call("forget_seen", seen.number));
  }

  async getMany(keys: readonly string[]): Promise<unknown[]> {
    if (keys.length === 0) return [];
    const { instance, keeper, sweeps } = this.#engine;
    if (!instance.isEnabled) return Promise.all(keys.map((key) => this.getSlowly(key)));
    const via = keeper?.via();
    let reads: Read[];
    try {
      const calls = slices(keys).map((part) => plain("MGET", ...part.map((key) => instance.prefix + key), ...sweeps.lists));
      const answers = (await this.#engine.readVia(via, calls)).map((answer) => sweeps.split(answer));
      reads = answers.flatMap(({ found, list }) => found.map((reply) => ({ bytes: asBytes(reply), list })));
      if (reads.length !== keys.length) throw new Fault("protocol");
    } catch (error) {
      this.#engine.notice(error);
      reads = keys.map(() => ({ bytes: null, list: null }));
    }
    const values = keys.map((key, at) => this.#served(key, reads[at]!.bytes, reads[at]!.list, via));
    const rest = values.flatMap((value, at) => (value === JUDGED ? at : []));

    const judge = async (part: readonly number[]): Promise<void> => {
      const judged = await this.#judged(
        part.map((at) => keys[at]!),
        part.map((at) => reads[at]!.bytes!),
        via,
      );
      for (const [place, at] of part.entries()) values[at] = judged[place];
    };
    await Promise.all(slices(rest).map(judge));
    return values;
  }

  /** What is under a key; to be forgotten. `undefined` without a value. */
  async sighted(key: string): Promise<Seen | undefined> {
    if (!this.#engine.instance.isEnabled) return undefined;
    const { bytes, list } = await this.#read(key);
    const isSwept = bytes !== null && this.#engine.sweeps.isSwept(list, key, bytes);
    const [sight] = await this.#see([isSwept ? null : bytes], undefined, (fault) => this.#engine.notice(fault));
    return seenOf(sight!);
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

  got(key: string, bytes: Uint8Array | null, list: Uint8Array | null): unknown {
    return this.#reads.got(key, bytes, list, this.#via);
  }

  gotNothing(key: string, error: unknown): unknown {
    // What went wrong on the line that is told of changes need not go wrong on the other.
    return this.#via.line === undefined ? this.#reads.gotNothing(key, error) : this.#reads.getSlowly(key);
  }
}

function seenOf(sight: Sight): Seen | undefined {
  return "number" in sight ? sight : undefined;
}
