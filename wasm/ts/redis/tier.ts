/**
 * Tier: values that processes share in a Redis. The core decides by what protocol; here it is spoken over the host's client.
 *
 * Invariants: from its first step an invalidation is owed, and it is paid when Redis has confirmed all of it; whatever cuts it short
 * leaves it owed, and it is said before this process reads again. A value that does not arrive for certain becomes an invalidation.
 */
import type { TierTerms } from "../cache.js";
import { type Capabilities, SHARED } from "../capabilities.js";
import { Core, Trapped } from "../core.js";
import { BackendUnavailableError, NotACounterError, UnsupportedOperationError } from "../errors.js";
import { BoundedInbox } from "../inbox.js";
import { readStats } from "../memory.js";
import type { Explained, Filled, Held, Inbox, Lease, Removed, Stats, Step, Terms, Tier, Want } from "../tier.js";
import { unref } from "../timers.js";
import { DecodeError, type Isolated, copy } from "../value.js";
import { Waits } from "../waits.js";
import { type Arg, Fault, type Library, RefusedError, type Reply, ReplyError, within } from "./connection.js";
import { Ear } from "./ear.js";
import type { Line, Reader } from "./line.js";
import { type Judge, Link, type Patience } from "./link.js";
import { type Call, plain } from "./script.js";
import {
  EVERYTHING,
  KEY,
  PATTERN,
  type Seen,
  TAG,
  type Target,
  decode,
  encode,
  pack,
  readCalls,
  readSight,
  unpack,
  writePayload,
  writeReplies,
  writeTargets,
} from "./wire.js";

/** How a tier over Redis waits, and what it takes. */
export interface RedisOptions {
  /** Milliseconds that a command may wait while nothing moves on the connection. Default: 100. */
  readonly commandTimeout?: number | undefined;
  /** Milliseconds until a connection has to be there. Default: 250. */
  readonly connectTimeout?: number | undefined;
  /** A larger value is not stored, and what is under its key is invalidated. Default: 16 MiB. */
  readonly maxValueBytes?: number | undefined;
}

const DONE = 0;
const STALE = 1;
const LOAD = 2;
const JOIN = 3;
const SEND = 4;
const SLEEP = 5;
const FAILED = 6;

/** Keys in one command. */
const AT_ONCE = 1_000;

/** A third of a lease, in milliseconds. */
const RENEW_EVERY = 660;

/** A pause in which a lease runs out. */
const STILL = 1_300;

/** How soon, and then how often at least, Redis is tried while something is owed. */
const FIRST_TRY = 20;
const LONGEST_TRY = 500;

/** How long a close waits for what is still to be said. */
const CLOSE_WITHIN = 1_000;

/** What PTTL says of a key that is not there. */
const NO_KEY = -2;

/** As many sentences are told at most: what a server writes is not ours to bound. */
const MOST_TOLD = 100;

/** How often to begin anew where others change the same key. */
const MOST_RACES = 16;

/** All that is needed to tell what an entry without tags is. */
const START_BYTES = 52;

const FAULTS = { unreachable: 1, timedOut: 2, lost: 3, open: 4, protocol: 5 } as const;

type HitStart = (written: number, beyond: number, clock: number) => number;
type Passing = { readonly value: Isolated["kept"] } | { readonly error: unknown };

export class RedisTier implements Tier, Judge, Reader {
  readonly name: string = "redis";
  readonly capabilities: Capabilities;
  readonly #terms: TierTerms;
  readonly #library: Library;
  readonly #maxValueBytes: number;
  readonly #patience: Patience;
  readonly #link: Link;
  /** `undefined` where there are no channels. */
  readonly #ear: Ear | undefined;
  readonly #prefix: string;
  #core: Core;
  #hitStart: HitStart;
  #startAt: number;
  #start: Uint8Array;
  #era = 0;
  #waits = new Waits();
  #passing: Passing | undefined;
  #isEnabled = true;
  #isOwing = false;
  #decodeErrors = 0;
  readonly #renewing = new Set<number>();
  #renewer: ReturnType<typeof setTimeout> | undefined;
  #isCollecting = false;
  #replaying: Promise<void> | undefined;
  #saidStoodStill = false;
  /** What was said in the log, so that it is said once. */
  readonly #told = new Set<string>();
  readonly #inboxes = new Set<BoundedInbox>();
  #isClosed = false;

  constructor(library: Library, terms: TierTerms, options: RedisOptions) {
    this.capabilities = { ...SHARED, messages: library.listen !== undefined };
    this.#terms = terms;
    this.#library = library;
    this.#patience = { command: options.commandTimeout ?? 100, connect: options.connectTimeout ?? 250 };
    this.#maxValueBytes = options.maxValueBytes ?? 16 * 2 ** 20;
    this.#core = this.#open();
    const core = this.#core;
    this.#hitStart = core.calls["hit_start"] as HitStart;
    this.#startAt = core.calls["start_at"]!();
    this.#start = core.bytesAt(this.#startAt, START_BYTES);
    core.begin().call("scripts");
    const scripts = Array.from({ length: core.readCount() }, () => ({ keys: core.readCount(), text: core.readText() }));
    this.#link = new Link(library, this, scripts, this.#patience);
    this.#ear = library.listen === undefined ? undefined : new Ear(library, this.#patience);
    core.begin().text("k").call("name_of_key");
    this.#prefix = core.readRest().slice(0, -1);
  }

  #open(): Core {
    const { namespace, jitter, early, loadTimeout, prepare } = this.#terms;
    const core = new Core();
    core
      .begin()
      .bytes(crypto.getRandomValues(new Uint8Array(16)))
      .text(namespace);
    core.call("open_shared", jitter, early, loadTimeout, this.#maxValueBytes);
    prepare(core);
    return core;
  }

  #restart(trapped: Trapped): void {
    this.#era++;
    this.#core = this.#open();
    this.#hitStart = this.#core.calls["hit_start"] as HitStart;
    this.#startAt = this.#core.calls["start_at"]!();
    this.#start = this.#core.bytesAt(this.#startAt, START_BYTES);
    this.#renewing.clear();
    if (!this.#isEnabled) this.#core.begin().call("switch_shared", 0);
    // What was owed is not known any more: all of it, then.
    this.#owe([{ kind: EVERYTHING }]);
    this.#terms.log(`the cache's core broke off and was started anew: ${trapped.message}`);
    const waits = this.#waits;
    this.#waits = new Waits();
    waits.wakeAll();
  }

  /** Makes a call of the core; one that breaks off is replaced, and what was asked fails. */
  #ask<T>(call: (core: Core) => T): T {
    try {
      return call(this.#core);
    } catch (error) {
      if (error instanceof Trapped) this.#restart(error);
      throw error;
    } finally {
      if (this.#core.hasWoken) this.#waits.settle(this.#core);
    }
  }

  #pass<T>(passing: Passing | undefined, call: (core: Core) => T): T {
    this.#passing = passing;
    try {
      return this.#ask(call);
    } finally {
      this.#passing = undefined;
    }
  }

  text<T>(call: (core: Core) => T): T {
    return this.#ask(call);
  }

  checkKey(key: string): void {
    if (key.length > 0 && key.length <= 341) return;
    this.#ask((core) => core.begin().text(key).call("check_key"));
  }

  // -- the judge of the link

  mayAsk(): 0 | 1 | 2 {
    return this.#ask((core) => core.begin().call("may_ask", performance.now()) as 0 | 1 | 2);
  }

  asked(weight: number): boolean {
    return this.#ask((core) => core.begin().call("asked", weight, performance.now(), Math.random()) !== 0);
  }

  async greet(line: Line, heard: number): Promise<void> {
    this.#ask((core) => core.begin().call("reconnected", heard));
    this.#lookWhatIsOwed();
    if (this.#isOwing) await this.#replay(line);
  }

  refused(reply: ReplyError): "nothing" | "down" | "readOnly" {
    const { follows, text } = this.#whatFollows(reply);
    // Once a reason.
    if (follows === 3) this.tell(text);
    return follows === 1 ? "down" : follows === 2 ? "readOnly" : "nothing";
  }

  noConnection(reason: string): void {
    this.tell(`no connection to redis: ${reason}`);
  }

  #whatFollows(reply: ReplyError): { readonly follows: number; readonly text: string } {
    return this.#ask((core) => {
      const follows = core.begin().text(reply.code.toWellFormed()).text(reply.detail.toWellFormed()).call("refused");
      return { follows, text: core.readRest() };
    });
  }

  /** Says it in the log, once. */
  protected tell(text: string): void {
    if (this.#told.has(text) || this.#told.size > MOST_TOLD) return;
    this.#told.add(text);
    this.#terms.log(text);
  }

  // -- what is owed

  #lookWhatIsOwed(): number {
    return this.#ask((core) => {
      const epoch = core.begin().call("owed");
      this.#isOwing = core.register(0) !== 0;
      return epoch;
    });
  }

  #owe(targets: readonly Target[]): void {
    this.#ask((core) => writeTargets(core.begin(), targets).call("owe"));
    this.#isOwing = true;
    this.#collect();
  }

  /** Says what is owed over a line. */
  async #replay(line: Line): Promise<void> {
    const { batch, targets } = this.#ask((core) => {
      const batch = core.begin().call("batch");
      const targets = Array.from({ length: core.readCount() }, () => ({ kind: core.readByte(), text: core.readText() }));
      return { batch, targets };
    });
    const era = this.#era;
    let isSaid = false;
    try {
      const of = (kind: number): string[] => targets.filter((target) => target.kind === kind).map(({ text }) => text);
      if (targets.some(({ kind }) => kind === EVERYTHING)) await this.#sweep(line, "*", { count: 0 });
      for (const glob of of(PATTERN)) await this.#sweep(line, glob, { count: 0 });
      this.#confirm(
        await line.ask(
          inParts(
            "UNLINK",
            of(KEY).map((key) => this.#prefix + key),
          ),
        ),
      );
      const tags = of(TAG);
      if (tags.length > 0) this.#confirm(await line.ask(this.#calls((core) => core.begin().texts(tags).call("move_tags"))));
      isSaid = true;
    } finally {
      if (era === this.#era) {
        this.#ask((core) => core.begin().call("replayed", batch, isSaid ? 1 : 0, performance.now()));
        this.#lookWhatIsOwed();
      }
    }
  }

  /** The open line, with nothing owed any more: for what reads. */
  async #settledLine(): Promise<Line> {
    const line = await this.#link.line();
    if (!this.#isOwing) return line;
    // A sweep may take its time, and is not begun anew for each who wants to read; nor does anybody wait for it longer than for a command.
    this.#replaying ??= this.#replay(line)
      .catch((error: unknown) => this.#notice(error))
      .finally(() => (this.#replaying = undefined));
    await within(this.#patience.command, this.#replaying, () => new Fault("open"));
    if (this.#isOwing) throw new Fault("open");
    return line;
  }

  /** Sees to it that what is owed is said as soon as Redis is there again, whether or not anybody reads. */
  #collect(): void {
    if (this.#isCollecting || this.#isClosed) return;
    this.#isCollecting = true;
    const attempt = (wait: number): void => {
      unref(
        setTimeout(() => {
          void this.#settledLine()
            .catch(() => undefined)
            .then(() => {
              if (this.#isOwing && !this.#isClosed) attempt(Math.min(wait * 2, LONGEST_TRY));
              else this.#isCollecting = false;
            });
        }, wait),
      );
    };
    attempt(FIRST_TRY);
  }

  // -- sending

  /** The calls that a call of the core has written. */
  #calls(ask: (core: Core) => unknown): Call[] {
    return this.#ask((core) => {
      ask(core);
      return readCalls(core);
    });
  }

  /** Sends calls that may be said twice, and says them again, once, on a new connection, where the old one was lost. */
  async #say(calls: readonly Call[]): Promise<Reply[]> {
    return again(async () => (await this.#link.line()).ask(calls));
  }

  /** As {@link RedisTier.#say}, once nothing is owed any more. */
  async #readBy(calls: readonly Call[]): Promise<Reply[]> {
    return again(async () => (await this.#settledLine()).ask(calls));
  }

  /** Sends calls whose answers nobody needs. */
  #sayAside(calls: readonly Call[]): void {
    if (calls.length > 0) void this.#say(calls).catch(() => undefined);
  }

  /** Notes a fault that is nobody's error. */
  #notice(error: unknown): void {
    if (!isOfRedis(error)) throw error;
    this.#ask((core) =>
      core
        .begin()
        .byte(FAULTS[error instanceof Fault ? error.kind : "protocol"])
        .call("noticed"),
    );
  }

  /** What a caller is told who has to know that Redis could not be asked. */
  #unavailable(error: unknown): Error {
    this.#notice(error);
    return new BackendUnavailableError(this.describe(error as Fault | RefusedError));
  }

  /** What went wrong, and what may help. */
  protected describe(error: Fault | RefusedError): string {
    return error instanceof RefusedError ? this.#whatFollows(error.reply).text : error.message;
  }

  /** What keeps a command from being answered, as the core reads it. */
  #outcome(core: Core, outcome: readonly Reply[] | Fault): Core {
    return outcome instanceof Fault ? core.byte(FAULTS[outcome.kind]) : writeReplies(core.byte(0), outcome);
  }

  // -- reads

  hit(): undefined {
    return undefined;
  }

  get(key: string): Promise<unknown> {
    const line = this.#isEnabled && !this.#isOwing ? this.#link.ready : undefined;
    if (line === undefined) return this.#getSlowly(key);
    return line.get(this.#prefix + key, key, this);
  }

  /** Of what was answered: a hit, most times. */
  got(key: string, bytes: Uint8Array | null): unknown {
    if (bytes === null) return this.#countMiss(key);
    try {
      return this.#plain(bytes) ?? this.#judged(key, bytes);
    } catch (error) {
      return this.#undecodable(key, error);
    }
  }

  gotNothing(key: string, error: unknown): unknown {
    return mayBeAgain(error) ? this.#getSlowly(key) : this.#gotNone(key, error);
  }

  /** A value that can be served without another question, counted as a hit; `undefined`, counted as nothing, where there is none. */
  #plain(bytes: Uint8Array): unknown {
    const written = Math.min(bytes.length, START_BYTES);
    let from: number;
    try {
      // The module's memory moves when it grows.
      if (this.#start.length === 0) this.#start = this.#core.bytesAt(this.#startAt, START_BYTES);
      const start = this.#start;
      for (let at = 0; at < written; at++) start[at] = bytes[at]!;
      from = this.#hitStart(written, bytes.length - written, this.#link.clockOfTurn());
    } catch (error) {
      const trapped = this.#core.trap(error);
      if (!(trapped instanceof Trapped)) throw error;
      this.#restart(trapped);
      return undefined;
    }
    return from === 0 ? undefined : decode(bytes, from - 1, this.#core.register(0));
  }

  async #getSlowly(key: string): Promise<unknown> {
    if (!this.#isEnabled) return this.#countMiss(key);
    let bytes: Uint8Array | null;
    try {
      bytes = asBytes((await this.#readBy([plain("GET", this.#prefix + key)]))[0]);
    } catch (error) {
      return this.#gotNone(key, error);
    }
    return this.got(key, bytes);
  }

  #gotNone(key: string, error: unknown): undefined {
    this.#notice(error);
    return this.#countMiss(key);
  }

  #countMiss(key: string): undefined {
    this.#ask((core) => core.begin().text(key).call("count_read", -1, this.#link.clock()));
  }

  /** The value that bytes are, counted; `undefined` where they are none. */
  async #judged(key: string, bytes: Uint8Array | null): Promise<unknown> {
    const seen = await this.#see(bytes);
    this.#ask((core) =>
      core
        .begin()
        .text(key)
        .call("count_read", seen?.number ?? -1, this.#link.clock()),
    );
    if (seen === undefined) return undefined;
    this.#forget(seen);
    try {
      return decode(seen.payload, 0, seen.codec);
    } catch (error) {
      this.#undecodable(key, error);
      return undefined;
    }
  }

  #undecodable(key: string, error: unknown): undefined {
    if (!(error instanceof DecodeError)) throw error;
    this.#decodeErrors++;
    this.tell(`the value of ${key} cannot be read: ${error.message}`);
  }

  /** What is under a key, its tags known. */
  async #see(bytes: Uint8Array | null): Promise<Seen | undefined> {
    const clock = this.#link.clock();
    const first = this.#ask((core) => {
      core.begin();
      if (bytes !== null) core.sized(bytes);
      return readSight(core, core.call("see", bytes === null ? 0 : 1, clock));
    });
    if (!("calls" in first)) return "number" in first ? first : undefined;
    const replies = await this.#readBy(first.calls).catch(asFault);
    const second = this.#ask((core) => readSight(core, this.#outcome(core.begin(), replies).call("see_tagged", first.tagged, clock)));
    return "number" in second ? second : undefined;
  }

  #forget(seen: Seen): void {
    this.#ask((core) => core.begin().call("forget_seen", seen.number));
  }

  async getMany(keys: readonly string[]): Promise<unknown[]> {
    if (keys.length === 0) return [];
    if (!this.#isEnabled) return Promise.all(keys.map((key) => this.#getSlowly(key)));
    let found: readonly Reply[];
    try {
      const answers = await this.#readBy(
        inParts(
          "MGET",
          keys.map((key) => this.#prefix + key),
        ),
      );
      found = answers.flatMap((answer) => (Array.isArray(answer) ? (answer as Reply[]) : []));
      if (found.length !== keys.length) throw new Fault("protocol");
    } catch (error) {
      this.#notice(error);
      found = keys.map(() => null);
    }
    return Promise.all(keys.map((key, at) => this.got(key, asBytes(found[at]))));
  }

  /** What is under a key; to be forgotten. `undefined` without a value. */
  async #sighted(key: string): Promise<Seen | undefined> {
    if (!this.#isEnabled) return undefined;
    const [bytes] = await this.#readBy([plain("GET", this.#prefix + key)]);
    return this.#see(asBytes(bytes));
  }

  /** What is known of a key; `undefined` without a value. */
  async #look(key: string): Promise<Seen | undefined> {
    const seen = await this.#sighted(key);
    if (seen === undefined) return undefined;
    this.#forget(seen);
    if (!seen.isCounter) return seen;
    const [left] = await this.#readBy([plain("PTTL", this.#prefix + key)]);
    const freshFor = typeof left === "number" && left >= 0 ? left : Infinity;
    return { ...seen, freshFor, usableFor: freshFor };
  }

  /** As {@link RedisTier.#look}; where Redis cannot be asked there is none, as for every read. */
  async #facts(key: string): Promise<Seen | undefined> {
    try {
      return await this.#look(key);
    } catch (error) {
      this.#notice(error);
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
    if (!this.#isEnabled) return absent("the cache is switched off");
    let seen: Seen | undefined;
    try {
      seen = await this.#look(key);
    } catch (error) {
      return absent(this.#unavailable(error).message);
    }
    if (seen === undefined) return absent(`not in ${this.name}, or invalidated, expired, or being loaded`);
    const { freshFor, usableFor, loadTime, tags, payload } = seen;
    const state = freshFor > 0 ? "fresh" : "stale";
    return { ...none, tier: this.name, state, whyAbsent: undefined, freshFor, usableFor, loadTime, bytes: payload.length, tags };
  }

  async *keys(pattern: string): AsyncGenerator<readonly string[]> {
    const namespace = this.#ask((core) => {
      // Refused before anything is asked.
      core.begin().text(pattern).count(0).call("glob_matches");
      core.begin().text(this.#terms.namespace).call("escape_glob");
      return core.readRest();
    });
    if (!this.#isEnabled) return;
    let [cursor, names]: [string, Uint8Array[]] = ["0", []];
    do {
      let starts: readonly Reply[];
      try {
        const [page] = await this.#readBy([plain("SCAN", cursor, "MATCH", `${namespace}:${pattern}`, "COUNT", String(AT_ONCE))]);
        [cursor, names] = readPage(page);
        starts = await this.#readBy(names.map((name) => plain("GETRANGE", name, "0", "3")));
      } catch (error) {
        throw this.#unavailable(error);
      }
      yield names.filter((_, at) => this.#isValue(starts[at]!)).map((name) => new TextDecoder().decode(name).slice(this.#prefix.length));
    } while (cursor !== "0");
  }

  /** Whether what begins like this is a value, and not somebody's right to load one. */
  #isValue(start: Reply): boolean {
    return this.#ask((core) => this.#outcome(core.begin(), [start, 1]).call("count_removed")) === 1;
  }

  // -- loads

  ticket(): number {
    return this.#ask((core) => core.run(() => core.calls["shared_ticket"]!()));
  }

  async begin(key: string, want: Want): Promise<Step> {
    try {
      return await this.#beginReadably(key, want);
    } catch (error) {
      if (!(error instanceof Trapped)) throw error;
      // The core was started anew. The loader runs all the same, and nothing of it is stored.
      return { kind: "load", lease: this.bypass(key) };
    }
  }

  async #beginReadably(key: string, want: Want): Promise<Step> {
    try {
      return await this.#beginPlainly(key, want);
    } catch (error) {
      this.#undecodable(key, error);
    }
    // What cannot be read is loaded anew: once, and then past the cache.
    try {
      return await this.#advance(key, { ...want, since: this.ticket(), again: true });
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return { kind: "load", lease: this.bypass(key) };
    }
  }

  /** As most look-ups end: by a fresh value without tags, for which no more is asked than for a plain read. */
  async #beginPlainly(key: string, want: Want): Promise<Step> {
    const isPlain = this.#isEnabled && !want.again && want.since < 0 && want.tags?.length === 0;
    const line = isPlain && !this.#isOwing ? this.#link.ready : undefined;
    if (line === undefined) return this.#advance(key, want);
    const fetched = await abortable(line.get(this.#prefix + key, key, FETCHING) as Promise<Fetched>, want.signal);
    if (fetched instanceof Uint8Array) {
      const value = this.#plain(fetched);
      if (value !== undefined) return { kind: "value", value };
    }
    return this.#advance(key, want, mayBeAgain(fetched) ? undefined : fetched);
  }

  /** `fetched` is what the first question of a plain look-up was answered. */
  async #advance(key: string, want: Want, fetched?: Fetched): Promise<Step> {
    const { signal, tags } = want;
    let next = this.#ask((core) => {
      core.begin().text(key).count(want.own.length);
      for (const ticket of want.own) core.number(ticket);
      if (tags === undefined) core.byte(0);
      else core.byte(1).texts(tags);
      return this.#next(core, core.call("look", want.since, want.isImpatient ? 1 : 0, want.again ? 1 : 0, performance.now()));
    });
    if (fetched !== undefined && next.step === SEND) {
      const { pending } = next;
      const answer = fetched instanceof RefusedError ? fetched.reply : fetched;
      next = this.#ask((core) => {
        this.#outcome(core.begin(), answer instanceof Fault ? answer : [answer]);
        return this.#next(core, core.call("replied", pending, performance.now(), this.#link.clock()));
      });
    }
    for (;;) {
      const era = this.#era;
      switch (next.step) {
        case DONE:
          return { kind: "value", value: decode(next.payload, 0, next.codec) };
        case STALE: {
          const lease = this.#lease(key, next);
          try {
            return { kind: "stale", value: decode(next.payload, 0, next.codec), lease };
          } catch (error) {
            lease.abandon();
            throw error;
          }
        }
        case LOAD:
          return { kind: "load", lease: this.#lease(key, next) };
        case SEND: {
          const { pending } = next;
          let outcome: readonly Reply[] | Fault;
          try {
            outcome = await this.#sendFor(next, signal);
          } catch (error) {
            if (era === this.#era) this.#ask((core) => core.begin().call("forget_pending", pending));
            throw error;
          }
          if (era !== this.#era) return { kind: "load", lease: this.bypass(key) };
          next = this.#ask((core) => {
            this.#outcome(core.begin(), outcome);
            return this.#next(core, core.call("replied", pending, performance.now(), this.#link.clock()));
          });
          break;
        }
        case SLEEP: {
          const { look, ms } = next;
          try {
            await abortable(pause(ms), signal);
          } catch (error) {
            if (era === this.#era) this.#ask((core) => core.begin().call("forget_look", look));
            throw error;
          }
          if (era !== this.#era) return { kind: "load", lease: this.bypass(key) };
          next = this.#ask((core) => this.#next(core, core.begin().call("slept", look)));
          break;
        }
        case JOIN: {
          const { look } = next;
          const ended = await this.#joined(next, want);
          if (ended.kind !== "again" && ended.kind !== "late") {
            if (era === this.#era) this.#ask((core) => core.begin().call("forget_look", look));
            return ended;
          }
          if (era !== this.#era) return { kind: "load", lease: this.bypass(key) };
          next = this.#ask((core) =>
            this.#next(core, core.begin().call("joined", look, ended.kind === "again" ? 2 : 3, performance.now())),
          );
          break;
        }
        case FAILED:
          throw new Error("a load that fails ends those who wait for it");
        default:
          return { kind: "later" };
      }
    }
  }

  /** Sends what a look-up asks, unless its caller goes away first: then a lease that it may have taken is given up. */
  async #sendFor(
    { calls, givenUp, mayRepeat }: Next & { step: typeof SEND },
    signal: AbortSignal | undefined,
  ): Promise<readonly Reply[] | Fault> {
    let isGone = false;
    const once = async (): Promise<Reply[]> => {
      const line = await this.#settledLine();
      if (isGone) throw new Fault("open");
      return line.ask(calls);
    };
    try {
      return await abortable((mayRepeat ? again(once) : once()).catch(asFault), signal);
    } catch (error) {
      isGone = true;
      this.#sayAside(givenUp);
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
        const [pending, mayRepeat] = [core.register(0), core.register(1) !== 0];
        return { step: SEND, calls: readCalls(core), givenUp: readCalls(core), pending, mayRepeat };
      }
      case SLEEP:
        return { step: SLEEP, look: core.register(0), ms: core.register(3) };
      case JOIN: {
        // Noted at once: the wait may be woken by the very next call.
        const [look, wait, ticket, atMost] = [0, 1, 2, 3].map((register) => core.register(register)) as [number, number, number, number];
        let settle!: (ended: Ended) => void;
        const ended = new Promise<Ended>((resolve) => (settle = resolve));
        const era = this.#era;
        this.#waits.add(wait, () => {
          if (era !== this.#era) return settle({ kind: "again" });
          const ending = this.#core.begin().call("shared_ending", wait);
          const passing = this.#passing;
          if (ending === 0 && passing !== undefined && "value" in passing) settle({ kind: "value", value: copy(passing.value) });
          else if (ending === 1 && passing !== undefined && "error" in passing) settle({ kind: "failed", error: passing.error });
          else settle({ kind: "again" });
        });
        return { step: JOIN, look, wait, ticket, atMost, ended };
      }
      default:
        return { step: step as 6 | 7 };
    }
  }

  /** Waits for another load of this process. */
  async #joined({ wait, ticket, atMost, ended, look }: Next & { step: typeof JOIN }, want: Want): Promise<Ended | { kind: "late" }> {
    const era = this.#era;
    const waitsNoMore = want.joined(ticket);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<{ kind: "late" }>((resolve) => {
      timer = setTimeout(() => resolve({ kind: "late" }), Math.min(atMost, 0x7fff_ffff));
    });
    let isOver = false;
    void ended.then(() => (isOver = true));
    const leave = (): void => {
      // The number of a wait that is over may be another's by now.
      if (isOver || era !== this.#era) return;
      this.#waits.remove(wait);
      this.#ask((core) => core.begin().call("shared_leave", wait));
    };
    try {
      const outcome = await abortable(Promise.race([ended, late]), want.signal);
      if (outcome.kind === "late") leave();
      return outcome;
    } catch (error) {
      leave();
      if (era === this.#era) this.#ask((core) => core.begin().call("forget_look", look));
      throw error;
    } finally {
      clearTimeout(timer);
      waitsNoMore();
    }
  }

  bypass(key: string): Lease {
    return this.#ask((core) => {
      core.begin().text(key).call("shared_bypass", performance.now());
      return this.#lease(key, readLease(core));
    });
  }

  overdue(key: string): Lease {
    return this.bypass(key);
  }

  #lease(key: string, { lease: number, ticket, isRenewed, payload, codec }: LeaseFound & { payload?: Uint8Array; codec?: number }): Lease {
    const era = this.#era;
    let isOver = false;
    if (isRenewed) this.#renew(number);
    const end = (name: string, passing: Passing | undefined, ...numbers: number[]): void => {
      if (isOver || era !== this.#era) return;
      isOver = true;
      this.#renewing.delete(number);
      const calls = this.#pass(passing, (core) => {
        core.begin().call(name, number, ...numbers);
        return readCalls(core);
      });
      this.#sayAside(calls);
    };
    return {
      key,
      ticket,
      leads: true,
      fallback: () => (isOver || payload === undefined ? undefined : decode(payload, 0, codec!)),
      fill: async (value, terms) => {
        // Encoded before anything is asked: what has no form in bytes must not take the lease along.
        const payload = encode(value);
        if (isOver || era !== this.#era) return { isStored: false, value: copy(value.kept) };
        isOver = true;
        // From here on the number of the lease may be another's.
        this.#renewing.delete(number);
        return this.#fill(number, value, payload, terms);
      },
      fail: (error) => end("shared_fail", { error }, performance.now()),
      abandon: () => end("shared_abandon", undefined),
    };
  }

  async #fill(lease: number, value: Isolated, payload: Uint8Array, { ttl, grace, tags }: Terms): Promise<Filled> {
    const era = this.#era;
    const next = this.#pass({ value: value.kept }, (core) => {
      writePayload(core.begin().texts(tags), value, payload);
      const filled = core.call("shared_fill", lease, ttl, grace, performance.now(), this.#link.clock());
      return filled < 3 ? { filled } : { sent: core.register(0), calls: readCalls(core) };
    });
    let filled = next.filled;
    if (next.sent !== undefined) {
      const outcome = await this.#say(next.calls).catch(asFault);
      if (era !== this.#era) return { isStored: false, value: copy(value.kept) };
      filled = this.#pass({ value: value.kept }, (core) =>
        this.#outcome(core.begin(), outcome).call("filled", next.sent, performance.now()),
      );
    }
    return { isStored: filled === 0, value: copy(value.kept) };
  }

  /** Keeps the leases of loads that run from running out, all of them in one go. */
  #renew(lease: number): void {
    this.#renewing.add(lease);
    if (this.#renewer !== undefined) return;
    const round = (): void => {
      const before = performance.now();
      this.#renewer = setTimeout(() => {
        this.#renewer = undefined;
        const stoodStill = performance.now() - before - RENEW_EVERY;
        if (stoodStill > STILL && !this.#saidStoodStill) {
          this.#saidStoodStill = true;
          this.#terms.log(
            `what runs the loads stood still for ${Math.round(stoodStill)} ms, too long to keep their leases: what they load is not stored`,
          );
        }
        if (this.#renewing.size === 0) return;
        const calls = [...this.#renewing].flatMap((lease) => this.#calls((core) => core.begin().call("renewal", lease)));
        // A lease that is not renewed in time is void, which its fill finds out.
        this.#sayAside(calls);
        round();
      }, RENEW_EVERY);
      unref(this.#renewer);
    };
    round();
  }

  // -- writes

  async set(key: string, value: Isolated, terms: Terms): Promise<boolean> {
    return this.setMany([[key, value]], terms);
  }

  async setMany(items: readonly (readonly [string, Isolated])[], terms: Terms): Promise<boolean> {
    const keys = items.map(([key]) => key);
    const payloads = items.map(([, value]) => encode(value));
    this.#detach(keys);
    let isStored = false;
    try {
      isStored = await this.#store(items, payloads, terms);
    } catch (error) {
      this.#notice(error);
    }
    if (isStored) return true;
    // What is there is older.
    await this.deleteMany(keys);
    return false;
  }

  async #store(
    items: readonly (readonly [string, Isolated])[],
    payloads: readonly Uint8Array[],
    { ttl, grace, tags }: Terms,
  ): Promise<boolean> {
    await this.#link.line();
    const notes = tags.length === 0 ? -1 : await this.#note(tags);
    const era = this.#era;
    try {
      const calls = this.#ask((core) => {
        const clock = this.#link.clock();
        const calls: Call[] = [];
        for (const [at, [key, value]] of items.entries()) {
          writePayload(core.begin().text(key).texts(tags), value, payloads[at]!);
          if (core.call("shared_set", notes, ttl, grace, clock) === 0) return undefined;
          calls.push(...readCalls(core));
        }
        return calls;
      });
      if (calls === undefined) return false;
      // Not said twice: the first may have arrived, and somebody else's after it.
      this.#confirm(await (await this.#link.line()).ask(calls));
      return true;
    } finally {
      if (notes >= 0 && era === this.#era) this.#ask((core) => core.begin().call("forget_notes", notes));
    }
  }

  async #note(tags: readonly string[]): Promise<number> {
    const { noting, calls } = this.#ask((core) => {
      core.begin().texts(tags).call("note");
      return { noting: core.register(0), calls: readCalls(core) };
    });
    const outcome = await this.#say(calls).catch(asFault);
    return this.#ask((core) => {
      if (this.#outcome(core.begin(), outcome).call("noted", noting) === 0)
        throw outcome instanceof Fault ? outcome : new Fault("protocol");
      return core.register(0);
    });
  }

  #detach(keys: readonly string[]): void {
    this.#ask((core) => core.begin().texts(keys).call("detach", performance.now()));
  }

  async add(key: string, value: Isolated, { ttl }: Terms): Promise<boolean> {
    const payload = encode(value);
    try {
      for (let race = 0; race < MOST_RACES; race++) {
        const line = await this.#link.line();
        const calls = this.#ask((core) => {
          writePayload(core.begin().text(key).texts([]), value, payload);
          return core.call("shared_add", ttl, this.#link.clock()) === 0 ? undefined : readCalls(core);
        });
        if (calls === undefined) return false;
        const [stored, there] = await line.ask(calls);
        if (stored instanceof ReplyError) throw new RefusedError(stored);
        if (there instanceof ReplyError) throw new RefusedError(there);
        if (stored !== null) return true;
        const bytes = asBytes(there);
        if (bytes === null) continue;
        if (!(await this.#isReplaceable(bytes))) return false;
        const swap = this.#ask((core) => {
          writePayload(core.begin().text(key).texts([]), value, payload).sized(bytes);
          return core.call("shared_swap", ttl, this.#link.clock()) === 0 ? undefined : readCalls(core);
        });
        if (swap === undefined) return false;
        const [swapped] = await this.#say(swap);
        if (swapped instanceof ReplyError) throw new RefusedError(swapped);
        if (swapped !== 0) return true;
      }
      return false;
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  /** Whether what is under a key is dead, or somebody's lease. */
  async #isReplaceable(bytes: Uint8Array): Promise<boolean> {
    const clock = this.#link.clock();
    let sight = this.#ask((core) => readSight(core, core.begin().sized(bytes).call("see", 1, clock)));
    if ("calls" in sight) {
      const { tagged, calls } = sight;
      const outcome = await this.#readBy(calls).catch(asFault);
      if (outcome instanceof Fault) throw outcome;
      sight = this.#ask((core) => readSight(core, this.#outcome(core.begin(), outcome).call("see_tagged", tagged, clock)));
    }
    if ("number" in sight) this.#forget(sight);
    return "isReplaceable" in sight;
  }

  async incr(key: string, by: number, { ttl }: Terms): Promise<number> {
    let judged: { readonly bytes: Uint8Array; readonly isAlive: boolean } | undefined;
    try {
      for (let race = 0; race < MOST_RACES; race++) {
        this.#detach([key]);
        const line = await this.#link.line();
        const calls = this.#calls((core) => {
          core.begin().text(key);
          if (judged !== undefined) core.sized(judged.bytes);
          core.call("increment", by, ttl, judged === undefined ? -1 : judged.isAlive ? 1 : 0, this.#link.clock());
        });
        const [sum] = await line.ask(calls).catch((error: unknown) => {
          // Whether it was added is not known: what is there must not be believed.
          if (!(error instanceof Fault && error.kind === "unreachable")) this.#owe([{ kind: KEY, text: key }]);
          throw error;
        });
        if (sum instanceof Uint8Array) return summed(key, sum);
        if (Array.isArray(sum)) {
          const bytes = asBytes((sum as Reply[])[0]);
          if (bytes === null) throw new Fault("protocol");
          judged = { bytes, isAlive: !(await this.#isReplaceable(bytes)) };
          continue;
        }
        if (sum instanceof ReplyError && `${sum.code} ${sum.detail}`.includes("NOTACOUNTER")) {
          throw new NotACounterError(`${key} holds no 64-bit integer: delete it, or count elsewhere`);
        }
        if (sum instanceof ReplyError && sum.detail.includes("overflow")) throw new NotACounterError(`${key} would leave 64 bits`);
        if (sum instanceof ReplyError) throw new RefusedError(sum);
        throw new Fault("protocol");
      }
      throw new Fault("protocol");
    } catch (error) {
      throw error instanceof NotACounterError ? error : this.#unavailable(error);
    }
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    try {
      for (let race = 0; race < MOST_RACES; race++) {
        const seen = await this.#sighted(key);
        if (seen === undefined) return false;
        const calls = this.#calls((core) => core.begin().text(key).call("shared_touch", seen.number, ttl, this.#link.clock()));
        this.#forget(seen);
        const [touched] = await this.#say(calls);
        if (touched instanceof ReplyError) throw new RefusedError(touched);
        if (touched !== 0) return true;
      }
      return false;
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  // -- invalidation

  /** Says an invalidation, which adds to the count what it is known to have removed. */
  async #invalidate(targets: readonly Target[], say: (removed: Count) => Promise<void>): Promise<Removed> {
    const era = this.#era;
    const removed = { count: 0 };
    let epoch = -1;
    let isSaid = false;
    try {
      // What is said over a connection that is not there yet belongs to that one.
      await this.#link.line().catch(() => undefined);
      epoch = this.#lookWhatIsOwed();
      await say(removed);
      isSaid = true;
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) this.#notice(error);
    } finally {
      if (isSaid && era === this.#era) {
        this.#ask((core) => writeTargets(core.begin(), targets).call("paid", epoch, performance.now()));
        this.#lookWhatIsOwed();
      } else {
        this.#owe(targets);
      }
    }
    return { count: removed.count, queued: !isSaid };
  }

  async deleteMany(keys: readonly string[]): Promise<Removed> {
    if (keys.length === 0) return { count: 0, queued: false };
    this.#detach(keys);
    const removed = await this.#invalidate(
      keys.map((text) => ({ kind: KEY, text })),
      async (removed) => {
        for (let at = 0; at < keys.length; at += AT_ONCE) {
          const some = keys.slice(at, at + AT_ONCE);
          const replies = await this.#say(this.#calls((core) => core.begin().texts(some).call("shared_delete")));
          removed.count += this.#ask((core) => this.#outcome(core.begin(), replies).call("count_removed"));
        }
      },
    );
    this.#detach(keys);
    return removed;
  }

  async invalidatePattern(pattern: string): Promise<Removed> {
    // Refused before anything is owed; and the loads of this process that match are sent away.
    const isEverything = this.#ask((core) => core.begin().text(pattern).call("sweep", performance.now()) !== 0);
    const target: Target = isEverything ? { kind: EVERYTHING } : { kind: PATTERN, text: pattern };
    // The server's cursor is of no use on another connection, or on another server.
    const removed = await this.#invalidate([target], (removed) =>
      again(async () => this.#sweep(await this.#link.line(), pattern, removed)),
    );
    this.#ask((core) => core.begin().text(pattern).call("sweep", performance.now()));
    return removed;
  }

  /** Removes all keys of the namespace that match; a key that is there during all of the sweep is removed by it. */
  async #sweep(line: Line, pattern: string, removed: Count): Promise<void> {
    const glob = this.#ask((core) => {
      core.begin().text(pattern).call("sweep", performance.now());
      return core.rest().slice();
    });
    let [cursor, found]: [Arg, Arg[]] = ["0", []];
    do {
      const calls = inParts("UNLINK", found);
      calls.push(plain("SCAN", cursor, "MATCH", glob, "COUNT", "1000"));
      const replies = [...(await line.ask(calls))];
      const page = replies.pop();
      removed.count += this.#confirm(replies);
      [cursor, found] = readPage(page);
    } while (cursor !== "0");
    removed.count += this.#confirm(await line.ask(inParts("UNLINK", found)));
    this.#library.swept?.(pattern);
  }

  /** The sum of answers of which none is an error. */
  #confirm(replies: readonly Reply[]): number {
    let sum = 0;
    for (const reply of replies) {
      if (reply instanceof ReplyError) throw new RefusedError(reply);
      if (typeof reply === "number") sum += reply;
    }
    return sum;
  }

  async invalidateTags(tags: readonly string[]): Promise<Removed> {
    if (tags.length === 0) return { count: 0, queued: false };
    return this.#invalidate(
      tags.map((text) => ({ kind: TAG, text })),
      async (removed) => {
        this.#confirm(await this.#say(this.#calls((core) => core.begin().texts(tags).call("move_tags"))));
        removed.count = tags.length;
      },
    );
  }

  clear(): Promise<Removed> {
    return this.invalidatePattern("*");
  }

  async emit(event: string, about: readonly (readonly [string, string])[]): Promise<Removed> {
    const { keys, patterns, tags } = this.#ask((core) => {
      core.begin().text(event).count(about.length);
      for (const [name, text] of about) core.text(name).text(text);
      core.call("plan");
      const texts = (): string[] => Array.from({ length: core.readCount() }, () => core.readText());
      return { keys: texts(), patterns: texts(), tags: texts() };
    });
    // First what a store may refuse.
    const tagged = await this.invalidateTags(tags);
    let { count, queued } = await this.deleteMany(keys);
    for (const pattern of patterns) {
      const removed = await this.invalidatePattern(pattern);
      count += removed.count;
      queued ||= removed.queued;
    }
    return { count, queued: queued || tagged.queued };
  }

  // -- locks and messages

  async #number(calls: readonly Call[]): Promise<number> {
    try {
      const [reply] = await this.#say(calls);
      if (reply instanceof ReplyError) throw new RefusedError(reply);
      if (typeof reply !== "number") throw new Fault("protocol");
      return reply;
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  async lock(name: string, ttl: number): Promise<Held | undefined> {
    const { token, calls } = this.#ask((core) => {
      core.begin().text(name).call("acquire", ttl);
      return { token: core.readSized().slice(), calls: readCalls(core) };
    });
    const unlock = (): Call[] => this.#calls((core) => core.begin().text(name).bytes(token).call("unlock_shared"));
    let fence: number;
    try {
      // Said twice it is the same: the token tells.
      fence = await this.#number(calls);
    } catch (error) {
      this.#sayAside(unlock());
      throw error;
    }
    if (fence <= 0) return undefined;
    return {
      fence,
      extend: async (longer) =>
        (await this.#number(this.#calls((core) => core.begin().text(name).bytes(token).call("extend_shared_lock", longer)))) !== 0,
      release: async () => (await this.#number(unlock())) !== 0,
    };
  }

  async lockFreed(name: string, atMost: number, signal: AbortSignal | undefined): Promise<void> {
    // Listened to first, or it could be freed unheard in between.
    let heard!: () => void;
    const freed = new Promise<void>((resolve) => (heard = resolve));
    const channel = this.#nameOf(name, 1);
    const leave = this.#ear?.listen(channel, heard);
    try {
      await abortable(Promise.race([this.#ear?.settled(channel), pause(atMost)]), signal);
      const left = await this.#number([plain("PTTL", this.#nameOf(name, 0))]);
      if (left === NO_KEY) return;
      // One that never ends is none of ours, and may be removed all the same.
      await abortable(Promise.race([freed, pause(left < 0 ? atMost : Math.min(atMost, left + 1))]), signal);
    } finally {
      leave?.();
    }
  }

  #nameOf(text: string, what: 0 | 1 | 2): string {
    return this.#ask((core) => {
      core.begin().text(text).call("name_of", what);
      return core.readRest();
    });
  }

  async publish(channel: string, message: Isolated, isRaw: boolean): Promise<number> {
    const name = isRaw ? channel : this.#nameOf(channel, 2);
    // Whoever began to listen here before hears it, though Redis may not have confirmed that yet.
    await this.#ear?.settled(name);
    try {
      // Not said twice: some may have heard it.
      const [heard] = await (await this.#link.line()).ask([plain("PUBLISH", name, pack(message))]);
      if (heard instanceof ReplyError) throw new RefusedError(heard);
      if (typeof heard !== "number") throw new Fault("protocol");
      return heard;
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox {
    const ear = this.#ear;
    if (ear === undefined) throw new UnsupportedOperationError("the way to this redis has no channels: connect to it by a client that has");
    const stops: (() => void)[] = [];
    const inbox = new BoundedInbox(limit, () => {
      this.#inboxes.delete(inbox);
      for (const stop of stops) stop();
    });
    this.#inboxes.add(inbox);
    for (const channel of new Set(channels)) {
      const name = isRaw ? channel : this.#nameOf(channel, 2);
      stops.push(ear.listen(name, (message) => this.#received(inbox, channel, message)));
    }
    return inbox;
  }

  /** Anybody may have sent it: what is no JSON is bytes. */
  #received(inbox: BoundedInbox, channel: string, message: Uint8Array): void {
    let data: unknown;
    try {
      data = unpack(message);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      data = new Uint8Array(message);
    }
    inbox.put({ channel, data });
  }

  // -- the rest

  async ping(): Promise<boolean> {
    try {
      const [reply] = await this.#say([plain("PING")]);
      return !(reply instanceof ReplyError);
    } catch {
      return false;
    }
  }

  stats(): Stats {
    return this.#ask((core) => {
      core.begin().call("shared_stats");
      return readStats(core, { decodeErrors: this.#decodeErrors, servedStale: 0, restarts: this.#era });
    });
  }

  resetStats(): void {
    this.#decodeErrors = 0;
    this.#ask((core) => core.begin().call("reset_shared_stats"));
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  set isEnabled(enabled: boolean) {
    this.#isEnabled = enabled;
    this.#ask((core) => core.begin().call("switch_shared", enabled ? 1 : 0));
  }

  async close(): Promise<void> {
    for (const inbox of [...this.#inboxes]) inbox.close();
    if (this.#isOwing) await within(CLOSE_WITHIN, this.#settledLine(), () => new Fault("open")).catch(asFault);
    this.#isClosed = true;
    clearTimeout(this.#renewer);
    this.#ear?.close();
    this.#link.close();
  }
}

/** What the question for the bytes under a name came to. */
type Fetched = Uint8Array | null | Fault | RefusedError;

const FETCHING: Reader = {
  got: (_, bytes) => bytes,
  gotNothing: (_, error) => error,
};

/** How many values are known to have left so far. */
interface Count {
  count: number;
}

interface LeaseFound {
  readonly lease: number;
  readonly ticket: number;
  readonly isRenewed: boolean;
}

type Ended =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "again" };

type Next =
  | { readonly step: typeof DONE; readonly codec: number; readonly payload: Uint8Array }
  | ({ readonly step: typeof STALE; readonly codec: number; readonly payload: Uint8Array } & LeaseFound)
  | ({ readonly step: typeof LOAD } & LeaseFound)
  | {
      readonly step: typeof SEND;
      readonly pending: number;
      readonly mayRepeat: boolean;
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

function readLease(core: Core): LeaseFound {
  return { lease: core.register(1), ticket: core.register(2), isRenewed: core.register(3) !== 0 };
}

/** A command about names, again and again where they are too many for one. */
function inParts(command: string, names: readonly Arg[]): Call[] {
  const calls: Call[] = [];
  for (let at = 0; at < names.length; at += AT_ONCE) calls.push(plain(command, ...names.slice(at, at + AT_ONCE)));
  return calls;
}

/** The cursor and the names that SCAN gives. */
function readPage(page: Reply | undefined): [cursor: string, names: Uint8Array[]] {
  if (page instanceof ReplyError) throw new RefusedError(page);
  const [cursor, names] = Array.isArray(page) ? (page as readonly Reply[]) : [];
  if (!(cursor instanceof Uint8Array) || !Array.isArray(names)) throw new Fault("protocol");
  return [new TextDecoder().decode(cursor), (names as Reply[]).filter((name) => name instanceof Uint8Array)];
}

function asBytes(reply: Reply | undefined): Uint8Array | null {
  if (reply instanceof Uint8Array) return reply;
  if (reply === null || reply === undefined) return null;
  // A list or a hash under our name is no value; whoever asked for a string was told so.
  if (reply instanceof ReplyError) {
    if (reply.code === "WRONGTYPE") return null;
    throw new RefusedError(reply);
  }
  throw new Fault("protocol");
}

/** The sum of a counter, as its digits. */
function summed(key: string, digits: Uint8Array): number {
  const sum = Number(new TextDecoder().decode(digits));
  if (!Number.isSafeInteger(sum)) throw new NotACounterError(`${key} has left what a number can count to: read it as a value`);
  return sum;
}

/** What went wrong, where it is nothing but a fault. */
function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof RefusedError) return new Fault("protocol");
  throw error;
}

/** Whether it is Redis that went wrong. */
function isOfRedis(error: unknown): error is Fault | RefusedError {
  return error instanceof Fault || error instanceof RefusedError;
}

/** Whether the connection was lost, or was gone already: on another one it may go well. */
function mayBeAgain(error: unknown): boolean {
  return error instanceof Fault && (error.kind === "lost" || error.kind === "unreachable");
}

/** Runs what may be run twice, and once more where the connection was lost meanwhile. */
async function again<T>(what: () => Promise<T>): Promise<T> {
  try {
    return await what();
  } catch (error) {
    if (!(error instanceof Fault && error.kind === "lost")) throw error;
    return what();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What `work` gives, unless the signal aborts first. */
async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  let abort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
