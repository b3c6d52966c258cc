/**
 * Sweeps: patterns on their way through all keys, and the list of them that Redis keeps, which is read with every key.
 *
 * What is written down there holds at once for whoever reads it; what it makes dead is the core's to say. Here it is seen to that
 * memory forgets it, that others are told that a sweep goes on, and that one which stands still is ended. Must not know who asks.
 */
import { type Arg, type Library, type Reply, RefusedError, ReplyError } from "./connection.js";
import type { Instance } from "./instance.js";
import type { Line } from "./line.js";
import { AT_ONCE, confirm, inParts, isOfRedis, readPage } from "./replies.js";
import { type Call, plain } from "./script.js";
import type { Memory } from "./via.js";
import { readCalls } from "./wire.js";

/** How many values are known to have left so far. */
export interface Count {
  count: number;
}

/** Where sweeps go, and who is told what is swept. */
export interface Way {
  line(): Promise<Line>;
  /** Notes a fault that is nobody's error. */
  notice(error: unknown): void;
  /** Says it in the log, once. */
  tell(text: string): void;
  /** Memory in front. */
  readonly near: Pick<Memory, "forgetMatching"> | undefined;
}

export class Sweeps {
  #list: string | undefined;
  readonly #instance: Instance;
  readonly #library: Library;
  readonly #way: Way;
  /** Whether something was on the list when it was last read. */
  #isAny = false;

  constructor(instance: Instance, library: Library, way: Way) {
    this.#instance = instance;
    this.#library = library;
    this.#way = way;
  }

  // -- the list

  /** What it is called; `undefined` where nobody keeps one. Not asked for before it is needed: the edge starts no core outside of requests. */
  get list(): string | undefined {
    if (this.#instance.readsSweeps) this.#list ??= this.#instance.nameOf("", 3);
    return this.#list;
  }

  /** The list, for a command that reads it behind keys, if there is one. */
  get lists(): readonly string[] {
    return this.list === undefined ? [] : [this.list];
  }

  /** The command that reads a key, and with it the list. */
  read(name: Arg): Call {
    return this.list === undefined ? plain("GET", name) : plain("MGET", name, this.list);
  }

  /** What tells behind values that are stored, or alone, what is being swept. */
  ask(): Call[] {
    return this.lists.map((list) => plain("MGET", list));
  }

  /** The answers to {@link Sweeps.read}, of which the list is the last, where there is one. */
  split(reply: Reply | undefined): { readonly found: readonly Reply[]; readonly list: Uint8Array | null } {
    if (reply instanceof ReplyError && reply.code !== "WRONGTYPE") throw new RefusedError(reply);
    if (!Array.isArray(reply)) return { found: [reply ?? null], list: null };
    const found = [...(reply as readonly Reply[])];
    const list = this.list === undefined ? null : found.pop();
    return { found, list: list instanceof Uint8Array ? list : null };
  }

  /** Takes note of the list as it has just been read; whether something is on it. */
  heed(list: Uint8Array | null): boolean {
    if (list === null && !this.#isAny) return false;
    const known = this.#instance.ask((core) => {
      core.begin();
      if (list !== null) core.sized(list);
      return core.call("heed_sweeps", list === null ? 0 : 1, performance.now());
    });
    this.#isAny = (known & 1) !== 0;
    if ((known & 2) !== 0) this.#act();
    return this.#isAny;
  }

  /** Whether what was read of a key together with the list is dead. */
  isSwept(list: Uint8Array | null, key: string, bytes: Uint8Array): boolean {
    if (!this.heed(list)) return false;
    return this.#instance.ask((core) => core.begin().text(key).sized(bytes.subarray(0, 20)).call("is_swept")) !== 0;
  }

  /** Has memory forget what was found on the list, and ends what stands still there. */
  #act(): void {
    const { fresh, stalled, isForeign } = this.#instance.ask((core) => {
      const isForeign = core.begin().call("take_sweeps") === 1;
      const fresh = Array.from({ length: core.readCount() }, () => core.readText());
      const stalled = Array.from({ length: core.readCount() }, () => ({ pattern: core.readText(), record: core.readCount() }));
      return { fresh, stalled, isForeign };
    });
    if (isForeign) {
      this.#way.tell(`what is under ${this.list} is not the list of what is being swept, or not all of it: that is left out`);
    }
    for (const pattern of fresh) this.#way.near?.forgetMatching(pattern);
    for (const { pattern, record } of stalled) {
      void this.#goOn(pattern, record).catch((error: unknown) => {
        if (isOfRedis(error)) this.#way.notice(error);
      });
    }
  }

  /** Sweeps in the place of one who does not, unless another does by now. */
  #goOn(pattern: string, record: number): Promise<void> {
    return this.#with(record, async () => {
      const line = await this.#way.line();
      const [raised] = await line.ask(this.#call("raise", record));
      if (raised === 1) await this.#sweepAs(line, pattern, { count: 0 }, record);
    });
  }

  #call(call: "raise" | "strike", record: number): Call[] {
    return this.#instance.calls((core) => core.begin().call(call, record));
  }

  /** The core knows a record by its number until this has ended, in whatever way. */
  async #with(record: number, sweeping: () => Promise<void>): Promise<void> {
    const { era } = this.#instance;
    try {
      await sweeping();
    } finally {
      if (era === this.#instance.era) this.#instance.ask((core) => core.begin().call("forget_record", record));
    }
  }

  // -- sweeping

  /**
   * Removes all keys of the namespace that match. It is written down first that they are gone, which holds at once for who reads that.
   * Where it cannot be, as there are too many or Redis refuses, it holds when this has ended.
   */
  async sweep(line: Line, pattern: string, removed: Count): Promise<void> {
    if (this.list === undefined) return this.#sweepAs(line, pattern, removed, undefined);
    const { record, calls } = this.#instance.ask((core) => {
      core.begin().text(pattern).call("write_down");
      return { record: core.register(0), calls: readCalls(core) };
    });
    await this.#with(record, async () => {
      const [list] = await line.ask(calls);
      const isWritten = list instanceof Uint8Array;
      if (isWritten) this.heed(list);
      await this.#sweepAs(line, pattern, removed, isWritten ? record : undefined);
    });
  }

  /** As {@link Sweeps.sweep}, of what is written down already. A key that is there during all of this is removed by it. */
  async #sweepAs(line: Line, pattern: string, removed: Count, record: number | undefined): Promise<void> {
    const { glob, raiseEvery } = this.#instance.ask((core) => {
      const raiseEvery = core.begin().call("raise_every");
      core.begin().text(pattern).call("matching");
      return { glob: core.rest().slice(), raiseEvery };
    });
    let raisedAt = performance.now();
    let [cursor, found]: [Arg, Arg[]] = ["0", []];
    do {
      const calls = inParts("UNLINK", found);
      calls.push(plain("SCAN", cursor, "MATCH", glob, "COUNT", String(AT_ONCE)));
      const replies = [...(await line.ask(calls))];
      const page = replies.pop();
      removed.count += confirm(replies);
      [cursor, found] = readPage(page);
      if (record !== undefined && performance.now() - raisedAt >= raiseEvery) {
        raisedAt = performance.now();
        // Where another has raised it, who thought that this sweep stood still, both sweep, which does no harm.
        await line.ask(this.#call("raise", record));
      }
    } while (cursor !== "0");
    removed.count += confirm(await line.ask(inParts("UNLINK", found)));
    this.#library.swept?.(pattern);
    if (record === undefined) return;
    const [left] = await line.ask(this.#call("strike", record));
    if (left instanceof Uint8Array) this.heed(left);
  }
}
