/**
 * Tracker: keeps the connection that Redis tells of changes, and on which is read what memory in front may have.
 *
 * Owns that connection: it is made for the first read, made anew when it is lost, and used for nothing but such reads and the fills
 * that memory may have too. It is asked for a sign of life every {@link BEAT}. Where a client library hands out no pushes, or the
 * server speaks only the older protocol, changes are told on another connection beside it. Must not know what is kept.
 *
 * Invariants: whatever becomes of the connection, the belief in what came over it ends with it. It and the usual one are made anew
 * together: each is open when the other begins to be used beside it, and where one is lost the other is left. Else, once a server has
 * taken over, one could read at the new one what the other still has to say there, or say at the new one what is read at the old.
 */
import { unref } from "../timers.js";
import { Fault, type Library, type Listening, RefusedError, type Reply, ReplyError, within } from "./connection.js";
import type { Line, LineOwner } from "./line.js";
import { type Link, type Patience, numberOf } from "./link.js";
import type { Near } from "./near.js";
import type { Outline } from "./outline.js";
import { plain } from "./script.js";
import { type Front, type Keeper, Via } from "./via.js";

/** How often the connection is asked for a sign of life, in milliseconds. */
const BEAT = 500;

const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 1_000;

/** Rights are given seldom. */
const REFUSED_PAUSE = 30_000;

/** So many values leave in one go, and how long others have their turn then. */
const SLICE = 500;
const BETWEEN = 1;

/** The channel on which Redis tells one connection of changes for another. */
const CHANGES = "__redis__:invalidate";

interface Tracked {
  readonly line: Line;
  /** Told of changes in the place of the line. */
  readonly aside: Listening | undefined;
  /** The usual line beside which it is used. */
  readonly beside: Line;
}

type Outcome = "lost" | "unreachable" | "refused";

export class Tracker implements LineOwner, Keeper {
  readonly isTroubled = false;
  readonly #front: Front;
  readonly #near: Near;
  readonly #library: Library;
  readonly #patience: Patience;
  readonly #tellsEverything: boolean;
  #tracked: Tracked | undefined;
  /** Redis's clock less that of the memory. Never late: it is taken to be the time of the question. */
  #offset = 0;
  #isStarted = false;
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(front: Front, near: Near, library: Library, patience: Patience, tellsEverything: boolean) {
    this.#front = front;
    this.#near = near;
    this.#library = library;
    this.#patience = patience;
    this.#tellsEverything = tellsEverything;
    near.lost = () => this.#lose();
  }

  /** Where to read what memory may have; `undefined` where there is no such connection by now, or something is owed first. */
  via(): Via | undefined {
    if (!this.#isStarted) this.start();
    const tracked = this.#tracked;
    if (tracked === undefined || !this.#isWhole(tracked) || this.#front.isOwing) return undefined;
    return new Via(tracked.line, this.#near.guard());
  }

  /** Whether both connections are there: one that is lost with nobody waiting tells nobody. */
  #isWhole({ line, beside }: Tracked): boolean {
    return line.isOpen && this.#front.link.isCurrent(beside);
  }

  /** Sees to it that there will be a connection. */
  start(): void {
    if (this.#isStarted || this.#isClosed) return;
    this.#isStarted = true;
    void this.#keep();
  }

  /** Lets memory have what was answered that way, with these bytes. */
  admit(via: Via | undefined, key: string, value: unknown, answer: Uint8Array): void {
    if (via === undefined || !this.#isOf(via)) return;
    const came = this.#near.admit(via.guard, key, value, answer, this.#redisNow());
    if (came === "counter") void this.#admitCounter(via, key, value).catch(() => undefined);
  }

  /** Lets memory have what was taken that way. */
  admitTaken(via: Via | undefined, key: string, value: unknown, outline: Outline | undefined): void {
    if (via === undefined || outline === undefined || !this.#isOf(via)) return;
    this.#near.admitTaken(via.guard, key, value, outline, this.#redisNow());
  }

  /** Redis tells that it is gone. */
  missed(): void {}

  /** A counter: how long it lives is asked first, and its changes since it was read keep it out. */
  async #admitCounter(via: Via, key: string, value: unknown): Promise<void> {
    const [left] = await via.line!.ask([plain("PTTL", this.#front.nameOf(key))]);
    if (typeof left === "number" && this.#isOf(via)) this.#near.admitCounter(via.guard, key, value, left, this.#redisNow());
  }

  #isOf(via: Via): boolean {
    return via.isWhole && via.line === this.#tracked?.line;
  }

  #redisNow(): number {
    return this.#near.clock.now() + this.#offset;
  }

  // -- what lines tell

  answered(): void {}

  looked(): void {}

  refused(_line: Line, replies: readonly ReplyError[]): void {
    // Somebody else may be the primary by now.
    if (replies.some((reply) => this.#front.refused(reply) !== "nothing")) this.#lose();
  }

  ended(line: Line): void {
    if (line === this.#tracked?.line) this.#lose();
  }

  /** The usual line is no more. */
  usualEnded(line: Line): void {
    if (line === this.#tracked?.beside) this.#lose();
  }

  /** What came over the connection is not believed any more. */
  #lose(): void {
    const tracked = this.#tracked;
    if (tracked === undefined) return;
    this.#tracked = undefined;
    this.#near.untrack();
    tracked.line.end("closed");
    tracked.aside?.end();
    this.#front.link.leave(tracked.beside);
    this.#wake();
  }

  // -- the connection

  async #keep(): Promise<void> {
    let [pause, wasRefused] = [FIRST_PAUSE, false];
    while (!this.#isClosed) {
      const outcome = await this.#follow().catch((error: unknown) => this.#whatFollows(error));
      if (outcome === "lost") pause = FIRST_PAUSE;
      else if (outcome === "unreachable") pause = Math.min(pause * 2, LONGEST_PAUSE);
      else {
        pause = REFUSED_PAUSE;
        this.#near.giveUp();
        if (!wasRefused)
          this.#front.tell("redis tells nobody here of changes, so there is no memory in front of it: see `near` in its documentation");
        wasRefused = true;
      }
      if (!this.#isClosed) await this.#idle(pause * (0.5 + Math.random() / 2));
    }
  }

  #whatFollows(error: unknown): Outcome {
    const reply = error instanceof RefusedError ? error.reply : this.#library.replyOf(error);
    try {
      return reply !== undefined && this.#front.refused(reply) === "nothing" ? "refused" : "unreachable";
    } catch {
      // The core broke off as it was asked, and was started anew.
      return "unreachable";
    }
  }

  /** Makes the connection and keeps it until it ends. */
  async #follow(): Promise<Outcome> {
    const { link } = this.#front;
    // What scripts are called is known once it is there.
    await link.line();
    this.#near.open();
    const { line, aside } = await this.#connect();
    try {
      const asked = this.#near.clock.now();
      confirmed(await line.ask(await this.#words(aside)));
      const beside = await link.line();
      confirmed(await beside.ask([plain("PING")]));
      if (this.#isClosed || !line.isOpen || !link.isCurrent(beside)) return "lost";
      this.#near.track(aside === undefined ? "itself" : "aside");
      this.#tracked = { line, aside, beside };
      await this.#beat(asked, await line.ask([plain("TIME")]));
      await this.#tend(line, aside);
      return "lost";
    } finally {
      this.#lose();
      line.end("closed");
      aside?.end();
    }
  }

  /** Opens the connection, and where it cannot be told itself another beside it. */
  async #connect(): Promise<Pick<Tracked, "line" | "aside">> {
    const { connect } = this.#patience;
    const { told, listen } = this.#library;
    const open = (made: Parameters<Link["lineOver"]>[0]): Line => this.#front.link.lineOver(made, this);
    if (told !== undefined) {
      try {
        return { line: open(await told(connect, (names) => this.#changed(names))), aside: undefined };
      } catch (error) {
        // One that does not speak the newer protocol answered with an error.
        if (this.#library.replyOf(error) === undefined) throw error;
      }
    }
    const aside = await listen!(connect, (channel, message) => {
      if (channel === CHANGES && !(message instanceof Uint8Array)) this.#changed(message);
    });
    try {
      return { line: open(await this.#library.connect(connect)), aside };
    } catch (error) {
      aside.end();
      throw error;
    }
  }

  #changed(names: readonly Uint8Array[] | null): void {
    if (this.#near.changed(names) && this.#tracked !== undefined) void this.#settle(this.#tracked.line);
  }

  /** Reads what is being swept, as that has changed: until then nothing is believed. */
  async #settle(line: Line): Promise<void> {
    const { sweeps } = this.#front;
    const doubt = this.#near.doubted();
    try {
      const [reply] = await line.ask(sweeps.ask());
      if (this.#tracked?.line !== line) return;
      sweeps.heed(sweeps.split(reply).list);
      this.#near.settled(doubt);
    } catch {
      if (this.#tracked?.line === line) this.#lose();
    }
  }

  /** How Redis is asked to tell of changes. */
  async #words(aside: Listening | undefined) {
    const args: (string | Uint8Array)[] = ["TRACKING", "ON"];
    if (aside !== undefined) {
      const id = await within(this.#patience.connect, aside.id!(), () => new Fault("timedOut"));
      await within(this.#patience.connect, aside.subscribe(CHANGES), () => new Fault("timedOut"));
      args.push("REDIRECT", String(id));
    }
    if (this.#tellsEverything) args.push("BCAST", ...this.#near.prefixes().flatMap((prefix) => ["PREFIX", prefix]));
    // It may be on already, in a way that cannot be changed.
    return [plain("CLIENT", "TRACKING", "OFF"), plain("CLIENT", ...args, "NOLOOP")];
  }

  /** Asks for signs of life until it is lost. */
  async #tend(line: Line, aside: Listening | undefined): Promise<void> {
    for (;;) {
      while (this.#tracked?.line === line && this.#near.tidy(SLICE)) await this.#idle(BETWEEN);
      if (this.#tracked?.line === line) await this.#idle(BEAT);
      if (this.#tracked?.line !== line || !this.#isWhole(this.#tracked)) return;
      const asked = this.#near.clock.now();
      const time = await line.ask([plain("TIME")]);
      // What that one was told before this answer was told before the line's own, or its key was guarded.
      if (aside !== undefined) await within(this.#patience.command, aside.ping(), () => new Fault("timedOut"));
      await this.#beat(asked, time);
    }
  }

  /** Believes in what came, as the connection answered with the time. */
  async #beat(asked: number, [time]: readonly Reply[]): Promise<void> {
    if (time instanceof ReplyError) throw new RefusedError(time);
    const [seconds, micros] = Array.isArray(time) ? (time as Reply[]).map(numberOf) : [NaN];
    const offset = seconds! * 1_000 + micros! / 1_000 - asked;
    if (!Number.isFinite(offset)) throw new Fault("protocol");
    this.#offset = offset;
    this.#near.answered(asked);
  }

  /** Waits so long, unless something happens first. */
  async #idle(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
      unref(timer);
    });
    clearTimeout(timer);
  }

  /** Ends it for good. */
  close(): void {
    this.#isClosed = true;
    this.#lose();
    this.#wake();
  }
}

function confirmed(replies: readonly Reply[]): void {
  // Switching off what was not on may be refused.
  const last = replies.at(-1);
  if (last instanceof ReplyError) throw new RefusedError(last);
}
