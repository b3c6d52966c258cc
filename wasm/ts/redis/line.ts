/**
 * Line: one open connection, which many ask at once, and which is given up where it keeps somebody waiting while nothing moves.
 *
 * Answers are owed to the line, whatever becomes of its callers. It is looked at now and then as long as one is owed: a timer for each
 * command would cost more than all else on this side. Must not know how a connection is made, nor what a command means.
 */
import { unref } from "../timers.js";
import { type Connection, Fault, type Library, RefusedError, type Reply, ReplyError } from "./connection.js";
import { type Call, type Scripts, isUnknown, plain } from "./script.js";

/** Who is told what happens on a line. */
export interface LineOwner {
  /** Whether it wants to know of answers. */
  readonly isTroubled: boolean;
  answered(): void;
  /** The server answered with errors. */
  refused(line: Line, replies: readonly ReplyError[]): void;
  /** A look at a line in use. */
  looked(line: Line, now: number): void;
  /** It is over, for this reason. */
  ended(line: Line, why: End): void;
}

/** Why a line is no more. */
export type End = "timedOut" | "lost" | "closed";

/** How often it is looked at, in milliseconds. */
const LOOK_EVERY = 25;

/** A command may wait so much longer for every byte of it: a millisecond for ten thousand. */
const MORE_PER_BYTE = 1 / 10_000;

/** Who makes something of the bytes under a name, and of the list of what is being swept, if it was read with them. */
export interface Reader {
  got(key: string, bytes: Uint8Array | null, list: Uint8Array | null): unknown;
  /** Of a fault, or an error that the server answered with. */
  gotNothing(key: string, error: unknown): unknown;
}

/** What is asked for together. */
interface Batch {
  readonly names: string[];
  /** As many may come. */
  readonly most: number;
  /** What came of it: bytes in the order of the names, and the list of what is being swept behind them; or why there are none. */
  readonly answer: Promise<readonly (Uint8Array | null)[] | Nothing>;
}

/** Stands for a fault, or an error that the server answered with, in the place of bytes. */
class Nothing {
  constructor(readonly error: unknown) {}
}

/** As many are asked for together, as long as the answer is not likely to be larger than this. */
const MOST_TOGETHER = 128;
const BYTES_TOGETHER = 64 << 10;

/** What a name takes on its way, about. */
const GET_BYTES = 64;

export class Line {
  readonly #connection: Connection;
  readonly #library: Library;
  readonly #scripts: Scripts;
  readonly #patience: number;
  readonly #owner: LineOwner;
  /** What is being swept, which is read with every key where there is such a list. */
  readonly #list: string | undefined;
  #end: End | undefined;
  #isRetired = false;
  /** How many answers are to come. */
  #owed = 0;
  /** Whether anything was answered since the last look; and when it was looked. */
  #hasMoved = false;
  #lookedAt = 0;
  /** When something moved, as far as is known; and how many bytes were said since. */
  #movedAt = performance.now();
  #said = 0;
  #saidOfLate = 0;
  #looker: ReturnType<typeof setTimeout> | undefined;
  /** What is being gathered. */
  #batch: Batch | undefined;
  /** The largest value that was answered of late. Nothing is known at first. */
  #largest = Infinity;

  constructor(connection: Connection, library: Library, scripts: Scripts, patience: number, owner: LineOwner, list: string | undefined) {
    this.#connection = connection;
    this.#library = library;
    this.#scripts = scripts;
    this.#patience = patience;
    this.#owner = owner;
    this.#list = list;
  }

  get isOpen(): boolean {
    return this.#end === undefined && this.#connection.isOpen;
  }

  /** When it was last of use: not later than that. */
  get lastUse(): number {
    return this.#hasMoved ? this.#lookedAt : this.#movedAt;
  }

  /** Sends calls in one go and gives their answers in order; error answers stay in their places. */
  async ask(calls: readonly Call[]): Promise<Reply[]> {
    if (calls.length === 0) return [];
    const replies = await this.#send(calls, false);
    // From the start: what follows a script may ask for what the script changes.
    const told = replies.some(isUnknown) ? await this.#send(calls, true) : replies;
    const refused = told.filter((reply) => reply instanceof ReplyError);
    if (refused.length > 0) this.#owner.refused(this, refused);
    return told;
  }

  async #send(calls: readonly Call[], isInFull: boolean): Promise<Reply[]> {
    if (!this.isOpen) throw new Fault("unreachable");
    let bytes = 0;
    const commands = calls.map((call) => {
      for (const arg of call.args) bytes += arg.length;
      return this.#scripts.command(call, isInFull);
    });
    this.#begun(bytes);
    let replies: Reply[];
    try {
      replies = await this.#connection.send(commands, () => (this.#hasMoved = true));
    } catch (error) {
      throw this.#failed(error);
    }
    this.#answered();
    return replies;
  }

  /** As {@link Line.ask}, and what was being swept once that was done: the list, or nothing where there is none. */
  async askAndList(calls: readonly Call[]): Promise<readonly [replies: readonly Reply[], list: Uint8Array | null]> {
    if (this.#list === undefined) return [await this.ask(calls), null];
    if (this.#library.mayOvertake === true) {
      const replies = await this.ask([...calls, plain("MGET", this.#list)]);
      const told = replies.pop();
      return [replies, Array.isArray(told) ? ((told as (Uint8Array | null)[])[0] ?? null) : null];
    }
    // With whoever else asks in this turn, behind what was sent by now.
    const asked = this.ask(calls);
    const { names, answer } = (this.#batch ??= this.#gather());
    const replies = await asked;
    const found = await answer;
    if (found instanceof Nothing) throw found.error;
    return [replies, found[names.length] ?? null];
  }

  /**
   * What `reader` makes of the bytes under a name, for the one command of every read. What is asked for in one turn is asked for
   * together, once all who ask in it have come: so nobody is given what was asked for before.
   */
  get(name: string, key: string, reader: Reader): Promise<unknown> {
    const { names, most, answer } = (this.#batch ??= this.#gather());
    const at = names.push(name) - 1;
    if (at + 1 === most) this.#batch = undefined;
    return answer.then((found) =>
      found instanceof Nothing ? reader.gotNothing(key, found.error) : reader.got(key, found[at] ?? null, found[names.length] ?? null),
    );
  }

  #gather(): Batch {
    const names: string[] = [];
    // One answer to all is whole only with the last of them: large values are better asked for one by one.
    const most = Math.max(1, Math.min(MOST_TOGETHER, Math.floor(BYTES_TOGETHER / this.#largest)));
    const answer = Promise.resolve().then(() => {
      if (this.#batch?.names === names) this.#batch = undefined;
      return this.#getTogether(names);
    });
    return { names, most, answer };
  }

  async #getTogether(names: readonly string[]): Promise<readonly (Uint8Array | null)[] | Nothing> {
    let found: readonly (Uint8Array | null)[];
    try {
      if (!this.isOpen) throw new Fault("unreachable");
      this.#begun(names.length * GET_BYTES);
      try {
        found = await this.#getMany(names);
      } catch (error) {
        throw error instanceof RefusedError ? error : this.#failed(error);
      }
      this.#answered();
    } catch (error) {
      return new Nothing(error);
    }
    let largest = 0;
    for (const bytes of found) if (bytes !== null && bytes.length > largest) largest = bytes.length;
    // What was large of late may come again.
    this.#largest = Math.max(largest, this.#largest === Infinity ? 1 : this.#largest * 0.9);
    return found;
  }

  async #getMany(names: readonly string[]): Promise<readonly (Uint8Array | null)[]> {
    const all = this.#list === undefined ? names : [...names, this.#list];
    const found = await this.#connection.read(all);
    if (Array.isArray(found) && found.length === all.length) return found as readonly (Uint8Array | null)[];
    this.#answered();
    const reply = found instanceof ReplyError ? found : new ReplyError("ERR as many answers as keys were expected");
    this.#owner.refused(this, [reply]);
    throw new RefusedError(reply);
  }

  /** Leaves it to those who use it now. */
  retire(): void {
    this.#isRetired = true;
    if (this.#owed === 0) this.end("closed");
  }

  /** Ends it now. The first reason counts. */
  end(why: End): void {
    if (this.#end !== undefined) return;
    this.#end = why;
    clearTimeout(this.#looker);
    this.#connection.end();
    this.#owner.ended(this, why);
  }

  #begun(bytes: number): void {
    this.#saidOfLate += bytes;
    if (this.#owed++ > 0) return;
    // The wait begins now.
    this.#hasMoved = true;
    if (this.#looker === undefined) this.#look();
  }

  #answered(): void {
    this.#hasMoved = true;
    this.#owed--;
    if (this.#owner.isTroubled) this.#owner.answered();
    if (this.#isRetired && this.#owed === 0) this.end("closed");
  }

  #failed(error: unknown): Fault | RefusedError {
    const reply = this.#library.replyOf(error);
    if (reply !== undefined) {
      this.#answered();
      this.#owner.refused(this, [reply]);
      return new RefusedError(reply);
    }
    this.#owed--;
    this.end(error instanceof Fault && error.kind === "timedOut" ? "timedOut" : "lost");
    return new Fault(this.#end === "timedOut" ? "timedOut" : "lost");
  }

  #look(): void {
    const lookedAt = (this.#lookedAt = performance.now());
    this.#looker = setTimeout(() => {
      this.#looker = undefined;
      const now = performance.now();
      // Where this process stood still, the answers may be there, and have their turn after timers.
      if (this.#hasMoved || now - lookedAt > 2 * LOOK_EVERY) {
        this.#movedAt = now;
        this.#said = 0;
      }
      this.#said += this.#saidOfLate;
      this.#saidOfLate = 0;
      this.#hasMoved = false;
      this.#owner.looked(this, now);
      if (this.#owed === 0) return;
      if (now - this.#movedAt > this.#patience + this.#said * MORE_PER_BYTE) this.end("timedOut");
      else this.#look();
    }, LOOK_EVERY);
    unref(this.#looker);
  }
}
