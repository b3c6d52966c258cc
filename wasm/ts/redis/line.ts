/**
 * Line: one open connection, which many ask at once, and which is given up where it keeps somebody waiting while nothing moves.
 *
 * Answers are owed to the line, whatever becomes of its callers. It is looked at now and then as long as one is owed: a timer for each
 * command would cost more than all else on this side. Must not know how a connection is made, nor what a command means.
 */
import { unref } from "../timers.js";
import { type Connection, Fault, type Library, RefusedError, type Reply, ReplyError } from "./connection.js";
import { type Call, type Scripts, isUnknown } from "./script.js";

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

export class Line {
  readonly #connection: Connection;
  readonly #library: Library;
  readonly #scripts: Scripts;
  readonly #patience: number;
  readonly #owner: LineOwner;
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

  constructor(connection: Connection, library: Library, scripts: Scripts, patience: number, owner: LineOwner) {
    this.#connection = connection;
    this.#library = library;
    this.#scripts = scripts;
    this.#patience = patience;
    this.#owner = owner;
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

  /** The value under a name, as `take` reads it, for the one command of every read. */
  get<T>(name: string, take: (bytes: Uint8Array | null) => T | Promise<T>, otherwise: (error: Fault | RefusedError) => T | Promise<T>): Promise<T> {
    this.#begun(name.length);
    return this.#connection.get(name).then(
      (bytes) => {
        this.#answered();
        return take(bytes);
      },
      (error: unknown) => {
        const failed = this.#failed(error);
        if (failed instanceof RefusedError) this.#owner.refused(this, [failed.reply]);
        return otherwise(failed);
      },
    );
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
