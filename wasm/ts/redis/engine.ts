/**
 * Engine: the shared tier at work. What the core decides is sent to Redis, waited for and told back.
 *
 * Owns the order in which things are said: what is owed before anything is read. Must not know what is asked, nor who asks.
 *
 * | to find out | look in |
 * |---|---|
 * | how the core is called | `instance` |
 * | how a key is read, looked up, loaded and filled | `read`, `look`, `lease`, `renewals` |
 * | how values are stored and changed by hand | `write` |
 * | how keys, patterns and tags are invalidated | `invalidate`, `sweeps`, `owed` |
 * | what memory in front has, and who hears of changes | `near`, `outline`, `via`, `tracker`, `untold` |
 * | how locks are held and waited for, and messages sent | `lock`, `messages` |
 * | what is sent, and over what | `wire`, `script`, `link`, `line` |
 */
import { BackendUnavailableError } from "../errors.js";
import { Fault, type Library, RefusedError, type Reply, ReplyError, within } from "./connection.js";
import { Ear } from "./ear.js";
import type { Instance } from "./instance.js";
import type { Line } from "./line.js";
import { type Judge, Link, type Patience } from "./link.js";
import { Owed, type Way } from "./owed.js";
import { again, asFault, asNumber, isOfRedis } from "./replies.js";
import { type Call, plain } from "./script.js";
import { Sweeps } from "./sweeps.js";
import type { Front, InFront, Keeper, Memory, Via } from "./via.js";
import { writeOutcome } from "./wire.js";

/** As many sentences are told at most: what a server writes is not ours to bound. */
const MOST_TOLD = 100;

/** How long a close waits for what is still to be said. */
const CLOSE_WITHIN = 1_000;

export class Engine implements Judge, Way, Front {
  readonly instance: Instance;
  readonly link: Link;
  readonly owed: Owed;
  readonly sweeps: Sweeps;
  /** `undefined` where there are no channels. */
  readonly ear: Ear | undefined;
  /** Where there is memory in front. */
  readonly near: Memory | undefined;
  readonly keeper: Keeper | undefined;
  /** What the store is called. */
  readonly name: string;
  readonly #library: Library;
  readonly #log: (message: string) => void;
  /** What was said in the log, so that it is said once. */
  readonly #told = new Set<string>();

  constructor(instance: Instance, library: Library, patience: Patience, inFront: InFront | undefined, log: (message: string) => void) {
    this.instance = instance;
    this.name = library.words?.name ?? "redis";
    this.#library = library;
    this.#log = log;
    this.sweeps = new Sweeps(instance, library, this);
    this.link = new Link(library, this, instance.scripts, patience, this.sweeps);
    this.owed = new Owed(instance, this.sweeps, this, patience.command);
    this.ear = library.listen === undefined ? undefined : new Ear(library, patience);
    this.near = inFront?.memory;
    this.keeper = inFront?.keeper(this, library, patience);
  }

  // -- the judge of the link

  mayAsk(): 0 | 1 | 2 {
    return this.instance.ask((core) => core.begin().call("may_ask", performance.now()) as 0 | 1 | 2);
  }

  asked(weight: number): boolean {
    return this.instance.ask((core) => core.begin().call("asked", weight, performance.now(), Math.random()) !== 0);
  }

  async greet(line: Line, heard: number): Promise<void> {
    this.instance.ask((core) => core.begin().call("reconnected", heard));
    this.owed.look();
    if (this.owed.isOwing) await this.owed.replay(line);
  }

  refused(reply: ReplyError): "nothing" | "down" | "readOnly" {
    const { words } = this.#library;
    if (words !== undefined) {
      const text = words.refused(reply);
      if (text !== undefined) this.tell(text);
      return "nothing";
    }
    const { follows, text } = this.#whatFollows(reply);
    // Once a reason.
    if (follows === 3) this.tell(text);
    return follows === 1 ? "down" : follows === 2 ? "readOnly" : "nothing";
  }

  noConnection(reason: string): void {
    this.tell(this.#library.words?.noConnection(reason) ?? `no connection to redis: ${reason}`);
  }

  dropped(line: Line): void {
    this.keeper?.usualEnded(line);
  }

  // -- the front of the keeper

  get isOwing(): boolean {
    return this.owed.isOwing;
  }

  nameOf(key: string): string {
    return this.instance.prefix + key;
  }

  #whatFollows(reply: ReplyError): { readonly follows: number; readonly text: string } {
    return this.instance.ask((core) => {
      const follows = core.begin().text(reply.code.toWellFormed()).text(reply.detail.toWellFormed()).call("refused");
      return { follows, text: core.readRest() };
    });
  }

  /** Says it in the log, once. */
  tell(text: string): void {
    if (this.#told.has(text) || this.#told.size > MOST_TOLD) return;
    this.#told.add(text);
    this.#log(text);
  }

  // -- sending

  line(): Promise<Line> {
    return this.link.line();
  }

  /** Sends calls that may be said twice, and says them again, once, on a new connection, where the old one was lost. */
  async say(calls: readonly Call[]): Promise<Reply[]> {
    return again(async () => (await this.link.line()).ask(calls));
  }

  /** As {@link Engine.say}, once nothing is owed any more. */
  async readBy(calls: readonly Call[]): Promise<Reply[]> {
    return again(async () => (await this.owed.settledLine()).ask(calls));
  }

  /** As {@link Engine.readBy}, on the line that is told of changes, if there is one, as long as that one answers. */
  async readVia(via: Via | undefined, calls: readonly Call[]): Promise<Reply[]> {
    return (await this.#sendVia(via, calls)) ?? this.readBy(calls);
  }

  /** As {@link Engine.say}, of what stores a value, on the line that is told of changes as long as that one takes it. */
  async storeVia(via: Via | undefined, calls: readonly Call[]): Promise<Reply[]> {
    return (await this.#sendVia(via, calls)) ?? this.say(calls);
  }

  async #sendVia(via: Via | undefined, calls: readonly Call[]): Promise<Reply[] | undefined> {
    if (via?.line === undefined || !via.isWhole) return undefined;
    try {
      return await via.line.ask(calls);
    } catch (error) {
      if (!isOfRedis(error)) throw error;
      via.isWhole = false;
      return undefined;
    }
  }

  /** Sends calls whose answers nobody needs. */
  sayAside(calls: readonly Call[]): void {
    if (calls.length > 0) void this.say(calls).catch(() => undefined);
  }

  /** As {@link Engine.say}, of what answers with a number, which its caller has to know. */
  async number(calls: readonly Call[]): Promise<number> {
    try {
      return asNumber((await this.say(calls))[0]);
    } catch (error) {
      throw this.unavailable(error);
    }
  }

  async ping(): Promise<boolean> {
    this.keeper?.start();
    try {
      const [reply] = await this.say([plain("PING")]);
      return !(reply instanceof ReplyError);
    } catch {
      return false;
    }
  }

  // -- faults

  notice(error: unknown): void {
    if (!isOfRedis(error)) throw error;
    this.instance.ask((core) => writeOutcome(core.begin(), asFault(error)).call("noticed"));
  }

  /** What a caller is told who has to know that Redis could not be asked. */
  unavailable(error: unknown): Error {
    this.notice(error);
    return new BackendUnavailableError(this.#describe(error as Fault | RefusedError));
  }

  /** What went wrong, and what may help. */
  #describe(error: Fault | RefusedError): string {
    const { words } = this.#library;
    if (words !== undefined) return words.failed(error instanceof RefusedError ? error.reply : undefined);
    return error instanceof RefusedError ? this.#whatFollows(error.reply).text : error.message;
  }

  async close(): Promise<void> {
    const { owed } = this;
    if (owed.isOwing) await within(CLOSE_WITHIN, owed.settledLine(), () => new Fault("open")).catch(asFault);
    owed.close();
    this.keeper?.close();
    this.ear?.close();
    this.link.close();
  }
}
