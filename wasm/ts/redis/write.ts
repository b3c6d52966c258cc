/**
 * Write: values stored and changed by hand.
 *
 * Invariant: a value that does not arrive for certain becomes an invalidation of its key, since what is there is older.
 */
import { NotACounterError } from "../errors.js";
import type { Stored, Terms } from "../tier.js";
import type { Isolated } from "../value.js";
import { Fault, RefusedError, type Reply, ReplyError } from "./connection.js";
import type { Engine } from "./engine.js";
import type { Invalidations } from "./invalidate.js";
import type { Line } from "./line.js";
import type { Reads } from "./read.js";
import { asBytes, asFault, confirm } from "./replies.js";
import type { Call } from "./script.js";
import { KEY, encode, readCalls, writeOutcome, writePayload } from "./wire.js";

/** How often to begin anew where others change the same key. */
const MOST_RACES = 16;

type Item = readonly [string, Isolated];

export class Writes {
  readonly #engine: Engine;
  readonly #reads: Reads;
  readonly #invalidations: Invalidations;

  constructor(engine: Engine, reads: Reads, invalidations: Invalidations) {
    this.#engine = engine;
    this.#reads = reads;
    this.#invalidations = invalidations;
  }

  async setMany(items: readonly Item[], terms: Terms): Promise<Stored> {
    const keys = keysOf(items);
    const payloads = items.map(([, value]) => encode(value));
    this.#invalidations.detach(keys);
    let stored: Stored = "unsure";
    try {
      stored = await this.#store(items, payloads, terms);
    } catch (error) {
      this.#engine.notice(error);
    }
    // What is there is older.
    if (stored !== "stored") await this.#invalidations.keys(keys);
    else this.#engine.near?.forget(keys);
    return stored;
  }

  async #store(items: readonly Item[], payloads: readonly Uint8Array[], { ttl, grace, tags }: Terms): Promise<Stored> {
    const { instance, link, sweeps } = this.#engine;
    await link.line();
    const notes = tags.length === 0 ? -1 : await this.#note(tags);
    const { era } = instance;
    try {
      const calls = instance.ask((core) => {
        const clock = link.clock();
        const calls: Call[] = [];
        for (const [at, [key, value]] of items.entries()) {
          writePayload(core.begin().text(key).texts(tags), value, payloads[at]!);
          if (core.call("shared_set", notes, ttl, grace, clock) === 0) return undefined;
          calls.push(...readCalls(core));
        }
        return calls;
      });
      if (calls === undefined) return "tooLarge";
      // Not said twice: the first may have arrived, and somebody else's after it.
      const line = await link.line();
      const [replies, list] = await line.askAndList(calls);
      confirm(replies);
      if (sweeps.heed(list)) await this.#storeAnew(line, keysOf(items), calls);
      return "stored";
    } finally {
      if (notes >= 0 && era === instance.era) instance.ask((core) => core.begin().call("forget_notes", notes));
    }
  }

  /** Stores what is dead already, as it was not known here what is being swept; whatever took its place meanwhile stays. */
  async #storeAnew(line: Line, keys: readonly string[], calls: readonly Call[]): Promise<void> {
    const { instance } = this.#engine;
    const anew = keys.flatMap((key, at) =>
      instance.calls((core) => {
        const { args } = calls[at]!;
        core.begin().text(key).count(args.length);
        for (const arg of args) core.sized(typeof arg === "string" ? new TextEncoder().encode(arg) : arg);
        core.call("store_anew");
      }),
    );
    confirm(await line.ask(anew));
  }

  async #note(tags: readonly string[]): Promise<number> {
    const { instance } = this.#engine;
    const { noting, calls } = instance.ask((core) => {
      core.begin().texts(tags).call("note");
      return { noting: core.register(0), calls: readCalls(core) };
    });
    const outcome = await this.#engine.say(calls).catch(asFault);
    return instance.ask((core) => {
      if (writeOutcome(core.begin(), outcome).call("noted", noting) === 0) throw outcome instanceof Fault ? outcome : new Fault("protocol");
      return core.register(0);
    });
  }

  /** Runs until nobody else has changed the key meanwhile; `undefined` says so. */
  async #race<T>(once: () => Promise<T | undefined>, lost: () => T): Promise<T> {
    try {
      for (let race = 0; race < MOST_RACES; race++) {
        const result = await once();
        if (result !== undefined) return result;
      }
      return lost();
    } catch (error) {
      throw error instanceof NotACounterError ? error : this.#engine.unavailable(error);
    }
  }

  async add(key: string, value: Isolated, { ttl }: Terms): Promise<boolean> {
    const payload = encode(value);
    const isAdded = await this.#race(
      () => this.#addOnce(key, value, payload, ttl),
      () => false,
    );
    if (isAdded) this.#engine.instance.ask((core) => core.begin().call("shared_added"));
    return isAdded;
  }

  async #addOnce(key: string, value: Isolated, payload: Uint8Array, ttl: number): Promise<boolean | undefined> {
    const { instance, link, sweeps } = this.#engine;
    const line = await link.line();
    const calls = instance.ask((core) => {
      writePayload(core.begin().text(key).texts([]), value, payload);
      return core.call("shared_add", ttl, link.clock()) === 0 ? undefined : readCalls(core);
    });
    if (calls === undefined) return false;
    const [[stored, there], list] = await line.askAndList(calls);
    if (stored instanceof ReplyError) throw new RefusedError(stored);
    if (there instanceof ReplyError) throw new RefusedError(there);
    if (stored !== null) {
      if (sweeps.heed(list)) await this.#storeAnew(line, [key], calls);
      this.#engine.near?.forget([key]);
      return true;
    }
    const bytes = asBytes(there);
    if (bytes === null) return undefined;
    if (!sweeps.isSwept(list, key, bytes) && !(await this.#reads.isReplaceable(bytes))) return false;
    const swap = instance.ask((core) => {
      writePayload(core.begin().text(key).texts([]), value, payload).sized(bytes);
      return core.call("shared_swap", ttl, link.clock()) === 0 ? undefined : readCalls(core);
    });
    if (swap === undefined) return false;
    const [swapped] = await this.#engine.say(swap);
    if (swapped instanceof ReplyError) throw new RefusedError(swapped);
    if (swapped === 0) return undefined;
    this.#engine.near?.forget([key]);
    return true;
  }

  async incr(key: string, by: number, { ttl }: Terms): Promise<number> {
    const { instance, link, owed } = this.#engine;
    let judged: { readonly bytes: Uint8Array; readonly isAlive: boolean } | undefined;
    const once = async (): Promise<number | undefined> => {
      this.#invalidations.detach([key]);
      const line = await link.line();
      const calls = instance.calls((core) => {
        core.begin().text(key);
        if (judged !== undefined) core.sized(judged.bytes);
        core.call("increment", by, ttl, judged === undefined ? -1 : judged.isAlive ? 1 : 0, link.clock());
      });
      const [sum] = await line.ask(calls).catch((error: unknown) => {
        // Whether it was added is not known: what is there must not be believed.
        if (!(error instanceof Fault && error.kind === "unreachable")) owed.owe([{ kind: KEY, text: key }]);
        throw error;
      });
      if (sum instanceof Uint8Array) {
        this.#engine.near?.forget([key]);
        return summed(key, sum);
      }
      if (Array.isArray(sum)) {
        const bytes = asBytes((sum as Reply[])[0]);
        if (bytes === null) throw new Fault("protocol");
        judged = { bytes, isAlive: !(await this.#reads.isReplaceable(bytes)) };
        return undefined;
      }
      if (sum instanceof ReplyError && `${sum.code} ${sum.detail}`.includes("NOTACOUNTER")) {
        throw new NotACounterError(`${key} holds no 64-bit integer: delete it, or count elsewhere`);
      }
      if (sum instanceof ReplyError && sum.detail.includes("overflow")) throw new NotACounterError(`${key} would leave 64 bits`);
      if (sum instanceof ReplyError) throw new RefusedError(sum);
      throw new Fault("protocol");
    };
    return this.#race(once, () => {
      throw new Fault("protocol");
    });
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    const { instance, link } = this.#engine;
    const once = async (): Promise<boolean | undefined> => {
      const seen = await this.#reads.sighted(key);
      if (seen === undefined) return false;
      const calls = instance.calls((core) => core.begin().text(key).call("shared_touch", seen.number, ttl, link.clock()));
      this.#reads.forget(seen);
      const [touched] = await this.#engine.say(calls);
      if (touched instanceof ReplyError) throw new RefusedError(touched);
      if (touched === 0) return undefined;
      this.#engine.near?.forget([key]);
      return true;
    };
    return this.#race(once, () => false);
  }
}

function keysOf(items: readonly Item[]): string[] {
  return items.map(([key]) => key);
}

/** The sum of a counter, as its digits. */
function summed(key: string, digits: Uint8Array): number {
  const sum = Number(new TextDecoder().decode(digits));
  if (!Number.isSafeInteger(sum)) throw new NotACounterError(`${key} has left what a number can count to: read it as a value`);
  return sum;
}
