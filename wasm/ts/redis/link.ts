/**
 * Link: the connection to one Redis, made when somebody needs it and anew once it is lost.
 *
 * Owns who gets the line, who waits for the attempt under way and who is turned away, and Redis's clock. Whether the server is worth
 * asking the core decides. Must not know what is asked. Invariants: at most one line is open to callers, and at most one attempt under
 * way; what has to be said before all else is said on a line before it is open to anybody.
 */
import { type Connection, Fault, type Library, RefusedError, type Reply, ReplyError, within } from "./connection.js";
import { type End, Line, type LineOwner } from "./line.js";
import { Scripts, type Script, plain } from "./script.js";
import type { Sweeps } from "./sweeps.js";

/** What the link asks the core, and is told by its owner. */
export interface Judge {
  /** Whether something may be asked: 0 no, 1 yes, 2 yes, alone, to find out if the server is back. */
  mayAsk(): 0 | 1 | 2;
  /** Reports what became of what was asked last, 0 for an answer; whether all is well with the server. */
  asked(weight: number): boolean;
  /** Says on a new line what has to be said first; the one before was last of use at `heard`. */
  greet(line: Line, heard: number): Promise<void>;
  /** What follows from an error that the server answered with. */
  refused(reply: ReplyError): "nothing" | "down" | "readOnly";
  /** Is told why there is no connection, in words that show no secret. */
  noConnection(reason: string): void;
  /** Is told that callers are given a line no more. */
  dropped(line: Line): void;
}

/** How a link waits, in milliseconds. */
export interface Patience {
  /** For an answer while nothing moves. */
  readonly command: number;
  /** Until a connection is there. */
  readonly connect: number;
}

interface Attempt {
  readonly line: Promise<Line>;
  /** Whether others may wait for it. */
  isShared: boolean;
}

/** How much a line that stood still speaks against the server: nobody else is to spend that time before it is known to be back. */
const STOOD_STILL = 20;

/** Answers count for so long after a failure: as long as the breaker looks back. */
const CALM = 10_000;

/** A line to a replica is given up, so that the next one may lead to a primary, but not sooner than this. */
const YOUNG = 1_000;

/** How often Redis is asked for its time. */
const CLOCK_LASTS = 5_000;

export class Link implements LineOwner {
  readonly #library: Library;
  readonly #judge: Judge;
  readonly #scripts: Scripts;
  readonly #patience: Patience;
  #line: Line | undefined;
  readonly #sweeps: Pick<Sweeps, "list">;
  #openedAt = 0;
  #attempt: Attempt | undefined;
  #heard: number | undefined;
  #isClosed = false;
  isTroubled = false;
  #calmFrom = 0;
  /** Redis's clock less this one. Never late: it is taken to be the time of the question. */
  #offset: number | undefined;
  #offsetAt = 0;
  /** What this clock showed of late, for those who come in the same turn; 0 for nothing. */
  #now = 0;
  readonly #forgetNow = (): void => void (this.#now = 0);

  constructor(library: Library, judge: Judge, scripts: readonly Script[], patience: Patience, sweeps: Pick<Sweeps, "list">) {
    this.#library = library;
    this.#judge = judge;
    this.#scripts = new Scripts(scripts, library);
    this.#patience = patience;
    this.#sweeps = sweeps;
  }

  /** Redis's clock, in milliseconds; 0 before the first connection, when nothing that it decides has arrived. */
  clock(): number {
    if (this.#library.clock !== undefined) return this.#library.clock();
    return this.#offset === undefined ? 0 : performance.now() + this.#offset;
  }

  /** As {@link Link.clock}, read once for all answers that came together: for hits, of which reading it is a part that counts. */
  clockOfTurn(): number {
    if (this.#offset === undefined) return 0;
    if (this.#now === 0) {
      this.#now = performance.now();
      queueMicrotask(this.#forgetNow);
    }
    return this.#now + this.#offset;
  }

  /** The open line, where there is one and nothing speaks against its use. */
  get ready(): Line | undefined {
    const line = this.#line;
    return line?.isOpen === true && !this.isTroubled ? line : undefined;
  }

  /** Whether it is the line that callers are given now, and open. */
  isCurrent(line: Line): boolean {
    return line === this.#line && line.isOpen;
  }

  /** The open line, made now where there is none. */
  async line(): Promise<Line> {
    const ready = this.ready;
    if (ready !== undefined) return ready;
    if (this.#isClosed) throw new Fault("unreachable");
    const open = this.#line?.isOpen === true ? this.#line : undefined;
    if (open === undefined && this.#attempt !== undefined) {
      if (!this.#attempt.isShared) throw new Fault("unreachable");
      return this.#attempt.line;
    }
    const allowed = this.#judge.mayAsk();
    if (allowed === 0) throw new Fault("open");
    return open ?? this.#start(allowed === 2);
  }

  #start(isProbe: boolean): Promise<Line> {
    const { command, connect } = this.#patience;
    const made = this.#make();
    const line = within(isProbe ? Math.min(command, connect) : connect, made, () => {
      // It goes on, but keeps nobody waiting.
      attempt.isShared = false;
      return new Fault("unreachable");
    });
    const attempt: Attempt = { line, isShared: !isProbe };
    this.#attempt = attempt;
    return line;
  }

  async #make(): Promise<Line> {
    let line: Line | undefined;
    try {
      await this.#scripts.prepare();
      const connection = await this.#library.connect(this.#patience.connect);
      line = this.lineOver(connection, this);
      await this.#readClock(line);
      await this.#judge.greet(line, this.#heard ?? performance.now());
      if (!line.isOpen) throw new Fault("lost");
      if (this.#isClosed) throw new Fault("unreachable");
    } catch (error) {
      this.#attempt = undefined;
      line?.end("closed");
      if (!this.#isClosed) {
        this.#failed(error instanceof Fault && error.kind === "timedOut" ? 2 : 1);
        this.#judge.noConnection(this.#reason(error));
      }
      throw new Fault("unreachable");
    }
    this.#attempt = undefined;
    // One that was closed with nobody waiting has told nobody.
    if (this.#line !== undefined) this.#judge.dropped(this.#line);
    this.#line = line;
    this.#openedAt = performance.now();
    this.#judge.asked(0);
    return line;
  }

  /** Why there is no connection, in words that show no secret: errors of the libraries may repeat what they were given. */
  #reason(error: unknown): string {
    const reply = error instanceof RefusedError ? error.reply : this.#library.replyOf(error);
    if (reply !== undefined) {
      this.#judge.refused(reply);
      return `it answered ${reply.code}`;
    }
    if (error instanceof Fault) return error.message;
    const { code } = (error ?? {}) as { readonly code?: unknown };
    return typeof code === "string" ? code : "it was closed before it could be used";
  }

  async #readClock(line: Line): Promise<void> {
    if (this.#library.clock !== undefined) return;
    const asked = performance.now();
    this.#offsetAt = asked;
    const [time] = await line.ask([plain("TIME")]);
    if (time instanceof ReplyError) throw new RefusedError(time);
    const [seconds, micros] = Array.isArray(time) ? (time as Reply[]).map(numberOf) : [NaN];
    const read = seconds! * 1_000 + micros! / 1_000 - asked;
    if (!Number.isFinite(read)) throw new Fault("protocol");
    this.#offset = read;
  }

  // -- what lines tell

  answered(): void {
    if (this.#judge.asked(0) && performance.now() >= this.#calmFrom) this.isTroubled = false;
  }

  refused(line: Line, replies: readonly ReplyError[]): void {
    // What speaks against the server does so once, however often it was said.
    const follows = new Set(replies.map((reply) => this.#judge.refused(reply)));
    if (follows.has("down")) this.#failed(1);
    else if (follows.has("readOnly") && line === this.#line && performance.now() - this.#openedAt >= YOUNG) {
      this.leave(line);
    }
  }

  looked(line: Line, now: number): void {
    if (line !== this.#line || !line.isOpen || now - this.#offsetAt < CLOCK_LASTS) return;
    // Best effort: the last estimate serves until the next.
    void this.#readClock(line).catch(() => undefined);
  }

  ended(line: Line, why: End): void {
    // One that callers could not use yet fails its attempt.
    if (line !== this.#line) return;
    this.#drop(line);
    if (why !== "closed") this.#failed(why === "timedOut" ? STOOD_STILL : 1);
  }

  #drop(line: Line): void {
    this.#line = undefined;
    this.#heard = line.lastUse;
    this.#judge.dropped(line);
  }

  /** Gives a line up, where it is the one of now, so that the next is another connection. Those who use it have their answers. */
  leave(line: Line): void {
    if (line !== this.#line) return;
    this.#drop(line);
    line.retire();
  }

  /** A line over a connection that was made besides; who owns it keeps it. There has to have been a line of the link's own. */
  lineOver(connection: Connection, owner: LineOwner): Line {
    return new Line(connection, this.#library, this.#scripts, this.#patience.command, owner, this.#sweeps.list);
  }

  #failed(weight: number): void {
    this.#judge.asked(weight);
    this.#calmFrom = performance.now() + CALM;
    this.isTroubled = true;
  }

  close(): void {
    this.#isClosed = true;
    this.#line?.end("closed");
  }
}

export function numberOf(part: Reply): number {
  return part instanceof Uint8Array ? Number(new TextDecoder().decode(part)) : Number(part);
}
