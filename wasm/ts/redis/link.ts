/**
 * Link: commands on their way to Redis and back, each with a limit to its patience, and what is to be said before others.
 *
 * Whatever is owed to Redis is said before anything is read, and what was said in the last ten seconds once more on every new
 * connection; both are kept by the core. Must not know what a command means.
 */
import { type Arg, type Command, type Connection, Fault, type FaultKind, type Reply, ReplyError } from "./connection.js";

/** What the link asks the core, and is told by its owner. */
export interface Judge {
  /** Whether a command may go out; its pass, or `undefined` where the store is left alone. */
  mayAsk(): number | undefined;
  /** Reports what became of it: 0 for an answer. */
  asked(pass: number, weight: number): void;
  /** Is told of a new connection, and says what is owed over it. */
  greet(line: Line): Promise<void>;
  /** Whether something is owed. */
  readonly isOwing: boolean;
}

/** One open connection, for as long as it is the same. */
export interface Line {
  readonly generation: number;
  ask(calls: readonly Call[]): Promise<Reply[]>;
}

/** A command, or a script by its number. */
export interface Call {
  /** 0 for a command. */
  readonly script: number;
  readonly args: readonly Arg[];
}

export interface Script {
  readonly keys: number;
  readonly text: string;
}

/** How much a fault speaks against the server. */
const WEIGHTS: Readonly<Record<FaultKind, number>> = { unreachable: 1, timedOut: 2, lost: 1, open: 0, protocol: 1 };

/** How often it is looked whether answers are late. */
const LOOK_EVERY = 25;

/** A command may wait so much longer for every ten thousand bytes of it. */
const MORE_PER_BYTE = 1 / 10_000;

/** A command whose answer has not come. */
interface Waiting {
  reject(fault: Fault): void;
  /** By when it is late, if nothing moves until then. */
  due: number;
  isOver: boolean;
}

export class Link {
  readonly #connection: Connection;
  readonly #judge: Judge;
  readonly #patience: number;
  readonly #connectPatience: number;
  readonly #scripts: readonly Script[];
  #shas: Promise<readonly string[]> | undefined;
  #knownShas: readonly string[] = [];
  /** Over which connection everything was said that had to be. */
  #greeted = 0;
  #greeting: { readonly generation: number; readonly done: Promise<void> } | undefined;
  /** In the order in which they were sent; what is over is dropped from the front. */
  #waiting: Waiting[] = [];
  #first = 0;
  /** Of how many commands the end is told to the breaker though they were answered: after a fault, as long as it looks back. */
  #suspectUntil = -Infinity;
  /** About now: looking at the clock costs as much as the rest of a hit. */
  #now = 0;
  #hasMoved = false;
  #progressAt = 0;
  #looker: ReturnType<typeof setTimeout> | undefined;
  /** Redis's clock less this one, in milliseconds; later readings are never behind. */
  #offset: number | undefined;
  #offsetAt = -Infinity;

  constructor(connection: Connection, judge: Judge, scripts: readonly Script[], patience: number, connectPatience: number) {
    this.#connection = connection;
    this.#judge = judge;
    this.#scripts = scripts;
    this.#patience = patience;
    this.#connectPatience = connectPatience;
  }

  /** Redis's clock, in milliseconds; 0 before the first connection. Never late: the answer to TIME was under way. */
  clock(): number {
    return this.#offset === undefined ? 0 : performance.now() + this.#offset;
  }

  /** When the connection was last heard from. */
  get heardAt(): number {
    return this.#progressAt;
  }

  /** Whether a command can go out at once: connected, nothing owed, and the store is not left alone. */
  get isReady(): boolean {
    const { generation } = this.#connection;
    return generation !== 0 && generation === this.#greeted && !this.#judge.isOwing;
  }

  /** The value under a name, as `take` reads it, for the one command of every read. Only where the link {@link Link.isReady}. */
  get<T>(name: string, take: (bytes: Uint8Array | null) => T | Promise<T>, otherwise: () => T | Promise<T>): Promise<T> {
    const pass = this.#pass();
    if (pass === undefined) return Promise.resolve(otherwise());
    return this.#watched(pass, name.length, () => this.#connection.get(name), take, otherwise);
  }

  /** A pass for a command; 0 while nothing has been wrong of late, and `undefined` where the store is left alone. */
  #pass(): number | undefined {
    return this.#suspectUntil === -Infinity ? 0 : this.#judge.mayAsk();
  }

  /** Notes how a command ended. */
  #ended(pass: number | undefined, weight: number): void {
    if (pass === undefined || (weight === 0 && this.#suspectUntil === -Infinity)) return;
    this.#judge.asked(pass, weight);
    const now = performance.now();
    if (weight > 0) this.#suspectUntil = now + LOOKS_BACK;
    else if (now > this.#suspectUntil) this.#suspectUntil = -Infinity;
  }

  /** The open connection, made now where there is none. */
  async line(): Promise<Line> {
    const pass = this.#pass();
    if (pass === undefined) throw new Fault("open");
    const { generation } = this.#connection;
    if (generation !== 0 && generation === this.#greeted) return this.#lineOf(generation, pass);
    try {
      await this.#connected();
    } catch (error) {
      const fault = error instanceof Fault ? error : new Fault("unreachable");
      this.#ended(pass, WEIGHTS[fault.kind]);
      throw fault;
    }
    this.#ended(pass, 0);
    return this.#lineOf(this.#greeted, undefined);
  }

  #lineOf(generation: number, pass: number | undefined): Line {
    return { generation, ask: (calls) => this.#ask(generation, calls, pass) };
  }

  async #connected(): Promise<void> {
    if (this.#connection.generation === 0) {
      await this.#within(this.#connectPatience, this.#connection.connect(), "unreachable");
    }
    const { generation } = this.#connection;
    if (generation === 0) throw new Fault("unreachable");
    if (this.#greeted === generation) return;
    if (this.#greeting?.generation !== generation) {
      const done = this.#greet(generation).finally(() => {
        if (this.#greeting?.generation === generation) this.#greeting = undefined;
      });
      this.#greeting = { generation, done };
    }
    await this.#greeting.done;
  }

  async #greet(generation: number): Promise<void> {
    this.#knownShas = await (this.#shas ??= Promise.all(this.#scripts.map(({ text }) => sha1(text))));
    await this.#readTime();
    await this.#judge.greet(this.#lineOf(generation, undefined));
    if (this.#connection.generation !== generation) throw new Fault("lost");
    this.#greeted = generation;
  }

  async #readTime(): Promise<void> {
    const asked = performance.now();
    const [time] = await this.#watched(undefined, 0, () => this.#connection.send([["TIME"]]), same);
    if (time instanceof ReplyError) throw new RefusedError(time);
    if (!Array.isArray(time)) throw new Fault("protocol");
    const [seconds, micros] = (time as Reply[]).map((part) =>
      part instanceof Uint8Array ? Number(new TextDecoder().decode(part)) : Number(part),
    );
    const read = seconds! * 1_000 + micros! / 1_000 - asked;
    if (!Number.isFinite(read)) throw new Fault("protocol");
    this.#offset = read;
    this.#offsetAt = asked;
  }

  async #ask(generation: number, calls: readonly Call[], pass: number | undefined): Promise<Reply[]> {
    if (calls.length === 0) {
      this.#ended(pass, 0);
      return [];
    }
    const replies = await this.#send(generation, calls, false, pass);
    if (!calls.some((call, at) => call.script !== 0 && isUnknownScript(replies[at]))) return replies;
    // From the start: what follows a script may ask for what the script changes.
    return this.#send(generation, calls, true, undefined);
  }

  #send(generation: number, calls: readonly Call[], isInFull: boolean, pass: number | undefined): Promise<Reply[]> {
    if (this.#connection.generation !== generation) {
      this.#ended(pass, WEIGHTS.lost);
      return Promise.reject(new Fault("lost"));
    }
    if (performance.now() - this.#offsetAt > TIME_EVERY && this.#offset !== undefined) {
      this.#offsetAt = performance.now();
      // Another time: a clock that drifts is no reason to keep anybody waiting.
      void this.#readTime().catch(() => undefined);
    }
    let bytes = 0;
    const commands = calls.map((call) => {
      for (const arg of call.args) bytes += arg.length;
      return this.#command(call, isInFull);
    });
    return this.#watched(pass, bytes, () => this.#connection.send(commands), same);
  }

  #command({ script, args }: Call, isInFull: boolean): Command {
    if (script === 0) return args;
    const { keys, text } = this.#scripts[script - 1]!;
    return [isInFull ? "EVAL" : "EVALSHA", isInFull ? text : this.#knownShas[script - 1]!, String(keys), ...args];
  }

  /** Waits for answers, though no longer than nothing moves on the connection. */
  #watched<A, T>(
    pass: number | undefined,
    bytes: number,
    send: () => Promise<A>,
    take: (answer: A) => T | Promise<T>,
    otherwise?: () => T | Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = {
        isOver: false,
        due: 0,
        reject: (fault) => {
          waiting.isOver = true;
          this.#ended(pass, WEIGHTS[fault.kind]);
          if (otherwise === undefined) reject(fault);
          else resolve(otherwise());
        },
      };
      if (this.#looker === undefined) this.#look();
      // The reading may be as old as the look before.
      waiting.due = this.#now + LOOK_EVERY + this.#patience + bytes * MORE_PER_BYTE;
      this.#waiting.push(waiting);
      const lost = (): void => {
        if (!waiting.isOver) waiting.reject(new Fault("lost"));
      };
      send().then((answer) => {
        this.#hasMoved = true;
        if (waiting.isOver) return;
        waiting.isOver = true;
        this.#drop();
        this.#ended(pass, 0);
        try {
          resolve(take(answer));
        } catch (error) {
          reject(error as Error);
        }
      }, lost);
    });
  }

  /** Lets go of what is over. */
  #drop(): void {
    while (this.#first < this.#waiting.length && this.#waiting[this.#first]!.isOver) this.#first++;
    if (this.#first < this.#waiting.length && this.#first < 1_024) return;
    this.#waiting = this.#waiting.slice(this.#first);
    this.#first = 0;
  }

  #look(): void {
    const lookedAt = (this.#now = performance.now());
    this.#looker = setTimeout(() => {
      this.#looker = undefined;
      const now = performance.now();
      const since = now - lookedAt;
      if (this.#hasMoved) this.#progressAt = lookedAt;
      // Where something moved, all wait anew; where this process stood still, the answers may be there, and have their turn after timers.
      const more = this.#hasMoved || since > 2 * LOOK_EVERY ? since : 0;
      this.#hasMoved = false;
      for (let at = this.#first; at < this.#waiting.length; at++) {
        const waiting = this.#waiting[at]!;
        waiting.due += more;
        if (!waiting.isOver && now > waiting.due) waiting.reject(new Fault("timedOut"));
      }
      this.#drop();
      if (this.#waiting.length > this.#first) this.#look();
    }, LOOK_EVERY);
    unref(this.#looker);
  }

  async #within<T>(ms: number, what: Promise<T>, kind: FaultKind): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Fault(kind)), ms)));
    try {
      return await Promise.race([what, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The server refused what the link cannot do without. */
export class RefusedError extends Error {
  constructor(readonly reply: ReplyError) {
    super(`redis answered ${reply.code}`);
  }
}

function same<T>(answer: T): T {
  return answer;
}

/** As long as the breaker looks back, in milliseconds. */
const LOOKS_BACK = 10_000;

/** How often Redis is asked for its time, in milliseconds. */
const TIME_EVERY = 10_000;

function isUnknownScript(reply: Reply | undefined): boolean {
  return reply instanceof ReplyError && reply.code === "NOSCRIPT";
}

async function sha1(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Has a timer not keep the process alive, where the host's timers can be told. */
export function unref(timer: unknown): void {
  if (typeof timer === "object" && timer !== null && "unref" in timer) (timer as { unref(): void }).unref();
}
