/**
 * Look: from a key to its value or to the right to load it.
 *
 * The core says step by step what is to be done; here it is done.
 */
import { unlessAborted } from "../aborts.js";
import { type Core, Trapped } from "../core.js";
import type { Ended, Step, Want } from "../tier.js";
import { pause } from "../timers.js";
import { DecodeError, copy } from "../value.js";
import { Fault, RefusedError, type Reply } from "./connection.js";
import type { Engine } from "./engine.js";
import { type Encoded, type LeaseFound, type Leases, readLease } from "./lease.js";
import type { Reader } from "./line.js";
import type { Reads } from "./read.js";
import { again, asFault, mayBeAgain } from "./replies.js";
import type { Call } from "./script.js";
import type { Via } from "./via.js";
import { decode, readCalls, writeOutcome } from "./wire.js";

const DONE = 0;
const STALE = 1;
const LOAD = 2;
const JOIN = 3;
const SEND = 4;
const SLEEP = 5;
const FAILED = 6;

/** What is to be done next. */
type Next =
  | ({ readonly step: typeof DONE } & Encoded)
  | ({ readonly step: typeof STALE } & Encoded & LeaseFound)
  | ({ readonly step: typeof LOAD } & LeaseFound)
  | {
      readonly step: typeof SEND;
      readonly pending: number;
      readonly mayRepeat: boolean;
      /** Whether something is changed, or read of what the value depends on, or the value itself. */
      readonly reads: 0 | 1 | 2;
      readonly calls: readonly Call[];
      readonly givenUp: readonly Call[];
    }
  | { readonly step: typeof SLEEP; readonly look: number; readonly ms: number }
  | {
      readonly step: typeof JOIN;
      readonly look: number;
      readonly wait: number;
      readonly ticket: number;
      readonly atMost: number;
      readonly ended: Promise<Ended>;
    }
  | { readonly step: 6 | 7 };

/** What the question for the bytes under a name came to: they, with the list of what is being swept where there is one. */
type Fetched = Uint8Array | null | readonly [Uint8Array | null, Uint8Array] | Fault | RefusedError;

const FETCHING: Reader = {
  got: (_, bytes, list) => (list === null ? bytes : [bytes, list]),
  gotNothing: (_, error) => error,
};

const NOTHING = new Uint8Array();

export class Looks {
  readonly #engine: Engine;
  readonly #reads: Reads;
  readonly #leases: Leases;

  constructor(engine: Engine, reads: Reads, leases: Leases) {
    this.#engine = engine;
    this.#reads = reads;
    this.#leases = leases;
  }

  ticket(): number {
    return this.#engine.instance.ask((core) => core.run(() => core.calls["shared_ticket"]!()));
  }

  async begin(key: string, want: Want): Promise<Step> {
    try {
      return await this.#beginReadably(key, want);
    } catch (error) {
      if (!(error instanceof Trapped)) throw error;
      // The core was started anew. The loader runs all the same, and nothing of it is stored.
      return this.#bypass(key);
    }
  }

  #bypass(key: string): Step {
    return { kind: "load", lease: this.#leases.bypass(key) };
  }

  async #beginReadably(key: string, want: Want): Promise<Step> {
    try {
      return await this.#beginPlainly(key, want);
    } catch (error) {
      this.#reads.undecodable(key, error);
    }
    // What cannot be read is loaded anew: once, and then past the cache.
    try {
      return await this.#advance(key, { ...want, since: this.ticket(), again: true });
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return this.#bypass(key);
    }
  }

  /** As most look-ups end: by a fresh value without tags, for which no more is asked than for a plain read. */
  async #beginPlainly(key: string, want: Want): Promise<Step> {
    const { instance, owed, link, keeper } = this.#engine;
    const isPlain = instance.isEnabled && !want.again && want.since < 0 && want.tags?.length === 0;
    const via = isPlain ? keeper?.via() : undefined;
    const line = via?.line ?? (isPlain && !owed.isOwing ? link.ready : undefined);
    if (line === undefined) return this.#advance(key, want);
    const fetched = await unlessAborted(line.get(instance.prefix + key, key, FETCHING) as Promise<Fetched>, want.signal);
    if (fetched instanceof Uint8Array || Array.isArray(fetched)) {
      const [bytes, list] = fetched instanceof Uint8Array ? [fetched, null] : (fetched as readonly [Uint8Array | null, Uint8Array]);
      const isSwept = this.#engine.sweeps.isSwept(list, key, bytes ?? NOTHING);
      const value = isSwept || bytes === null ? undefined : this.#reads.plainly(key, bytes, via);
      if (value !== undefined) return { kind: "value", value };
    }
    // What went wrong on the line that is told of changes need not go wrong on the other.
    const isOver = mayBeAgain(fetched) || (via?.line !== undefined && (fetched instanceof Fault || fetched instanceof RefusedError));
    return this.#advance(key, want, isOver ? undefined : fetched, via);
  }

  /** `fetched` is what the first question of a plain look-up was answered, and `via` under what. */
  async #advance(key: string, want: Want, fetched?: Fetched, via?: Via): Promise<Step> {
    const { instance, keeper, sweeps } = this.#engine;
    const { signal, tags } = want;
    /** What the key was last found to hold, as long as nothing else was asked or waited for since. */
    let entry: Reply | Fault | undefined;
    let next = instance.ask((core) => {
      core.begin().text(key).count(want.own.length);
      for (const ticket of want.own) core.number(ticket);
      if (tags === undefined) core.byte(0);
      else core.byte(1).texts(tags);
      return this.#next(core, core.call("look", want.since, want.isImpatient ? 1 : 0, want.again ? 1 : 0, performance.now()));
    });
    if (fetched !== undefined && next.step === SEND) {
      const answer = fetched instanceof RefusedError ? fetched.reply : fetched;
      const isAlone = answer instanceof Uint8Array || answer === null;
      const reply = isAlone && sweeps.list !== undefined ? [answer, null] : answer;
      next = this.#replied(next.pending, reply instanceof Fault ? reply : [reply]);
      entry = isAlone ? answer : Array.isArray(answer) ? (answer as readonly Reply[])[0] : undefined;
    }
    for (;;) {
      const { era } = instance;
      /** Of what the core holds for this look-up, where its caller goes away. */
      const forget = (call: string, number: number): void => {
        if (era === instance.era) instance.ask((core) => core.begin().call(call, number));
      };
      switch (next.step) {
        case DONE: {
          const value = decode(next.payload, 0, next.codec);
          if (entry instanceof Uint8Array) keeper?.admit(via, key, value, entry);
          return { kind: "value", value };
        }
        case STALE: {
          const lease = this.#leases.of(key, next, next);
          try {
            return { kind: "stale", value: decode(next.payload, 0, next.codec), lease };
          } catch (error) {
            lease.abandon();
            throw error;
          }
        }
        case LOAD:
          keeper?.missed(via, key);
          return { kind: "load", lease: this.#leases.of(key, next) };
        case SEND: {
          const { pending, reads } = next;
          let outcome: readonly Reply[] | Fault;
          try {
            if (reads === 2) via = keeper?.via();
            outcome = await this.#sendFor(next, reads === 0 ? undefined : via, signal);
          } catch (error) {
            forget("forget_pending", pending);
            throw error;
          }
          if (era !== instance.era) return this.#bypass(key);
          if (reads === 2) entry = this.#heeded(outcome);
          else if (reads === 0) entry = undefined;
          next = this.#replied(pending, outcome);
          break;
        }
        case SLEEP: {
          const { look, ms } = next;
          try {
            await unlessAborted(pause(ms), signal);
          } catch (error) {
            forget("forget_look", look);
            throw error;
          }
          if (era !== instance.era) return this.#bypass(key);
          next = instance.ask((core) => this.#next(core, core.begin().call("slept", look)));
          break;
        }
        case JOIN: {
          const { look } = next;
          const ended = await this.#joined(next, want);
          if (ended.kind !== "again" && ended.kind !== "late") {
            forget("forget_look", look);
            return ended;
          }
          if (era !== instance.era) return this.#bypass(key);
          const how = ended.kind === "again" ? 2 : 3;
          next = instance.ask((core) => this.#next(core, core.begin().call("joined", look, how, performance.now())));
          break;
        }
        case FAILED:
          throw new Error("a load that fails ends those who wait for it");
        default:
          return { kind: "later" };
      }
    }
  }

  /** What was read of a key; what is being swept is heeded. */
  #heeded(outcome: readonly Reply[] | Fault): Reply | Fault | undefined {
    if (outcome instanceof Fault || !Array.isArray(outcome[0])) return outcome instanceof Fault ? outcome : outcome[0];
    const { sweeps } = this.#engine;
    const { found, list } = sweeps.split(outcome[0]);
    sweeps.heed(list);
    return found[0];
  }

  #replied(pending: number, outcome: readonly Reply[] | Fault): Next {
    const { instance, link } = this.#engine;
    return instance.ask((core) => {
      writeOutcome(core.begin(), outcome);
      return this.#next(core, core.call("replied", pending, performance.now(), link.clock()));
    });
  }

  /** Sends what a look-up asks, unless its caller goes away first: then a lease that it may have taken is given up. */
  async #sendFor(
    { calls, givenUp, mayRepeat }: Next & { step: typeof SEND },
    via: Via | undefined,
    signal: AbortSignal | undefined,
  ): Promise<readonly Reply[] | Fault> {
    let isGone = false;
    const once = async (): Promise<Reply[]> => {
      const line = await this.#engine.owed.settledLine();
      if (isGone) throw new Fault("open");
      return line.ask(calls);
    };
    try {
      const sent = via?.line === undefined ? (mayRepeat ? again(once) : once()) : this.#engine.readVia(via, calls);
      return await unlessAborted(sent.catch(asFault), signal);
    } catch (error) {
      isGone = true;
      this.#engine.sayAside(givenUp);
      throw error;
    }
  }

  /** What a call says is to be done next. */
  #next(core: Core, step: number): Next {
    switch (step) {
      case DONE:
        return { step: DONE, codec: core.readByte(), payload: core.rest().slice() };
      case STALE: {
        const codec = core.readByte();
        return { step: STALE, codec, payload: core.rest().slice(), ...readLease(core) };
      }
      case LOAD:
        return { step: LOAD, ...readLease(core) };
      case SEND: {
        const [pending, mayRepeat, reads] = [core.register(0), core.register(1) !== 0, core.register(2) as 0 | 1 | 2];
        return { step: SEND, calls: readCalls(core), givenUp: readCalls(core), pending, mayRepeat, reads };
      }
      case SLEEP:
        return { step: SLEEP, look: core.register(0), ms: core.register(3) };
      case JOIN: {
        const [look, wait, ticket, atMost] = [0, 1, 2, 3].map((register) => core.register(register)) as [number, number, number, number];
        // Noted at once: the wait may be woken by the very next call.
        return { step: JOIN, look, wait, ticket, atMost, ended: this.#ended(wait) };
      }
      default:
        return { step: step as 6 | 7 };
    }
  }

  #ended(wait: number): Promise<Ended> {
    return new Promise((resolve) => {
      this.#engine.instance.wait(wait, (ending, passing) => {
        if (ending === 0 && passing !== undefined && "value" in passing) resolve({ kind: "value", value: copy(passing.value) });
        else if (ending === 1 && passing !== undefined && "error" in passing) resolve({ kind: "failed", error: passing.error });
        else resolve({ kind: "again" });
      });
    });
  }

  /** Waits for another load of this process. */
  async #joined({ wait, ticket, atMost, ended, look }: Next & { step: typeof JOIN }, want: Want): Promise<Ended | { kind: "late" }> {
    const { instance } = this.#engine;
    const { era } = instance;
    const waitsNoMore = want.joined(ticket);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<{ kind: "late" }>((resolve) => {
      timer = setTimeout(() => resolve({ kind: "late" }), Math.min(atMost, 0x7fff_ffff));
    });
    let isOver = false;
    void ended.then(() => (isOver = true));
    const leave = (): void => {
      // The number of a wait that is over may be another's by now.
      if (!isOver && era === instance.era) instance.waitNoMore(wait);
    };
    try {
      const outcome = await unlessAborted(Promise.race([ended, late]), want.signal);
      if (outcome.kind === "late") leave();
      return outcome;
    } catch (error) {
      leave();
      if (era === instance.era) instance.ask((core) => core.begin().call("forget_look", look));
      throw error;
    } finally {
      clearTimeout(timer);
      waitsNoMore();
    }
  }
}
