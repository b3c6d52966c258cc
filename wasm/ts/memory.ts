/**
 * Memory: the tier of one process. Here are the values and a table from keys to their numbers; all decisions are the core's.
 *
 * Invariant: after each call into the core that may let values go, they are gone from here before anything is read.
 */
import { type Capabilities, SHARED } from "./capabilities.js";
import type { Clock } from "./clock.js";
import { Core, MEMORY, Trapped } from "./core.js";
import { NotACounterError } from "./errors.js";
import { Hub } from "./inbox.js";
import { readExplained, readStats } from "./readings.js";
import { NO_SEED, NoSeedError, drawSeed } from "./seed.js";
import type {
  Ended,
  Eventually,
  Explained,
  Filled,
  Held,
  Inbox,
  Join,
  Lease,
  Removed,
  Stats,
  Step,
  Stored,
  Terms,
  Tier,
  Want,
} from "./tier.js";
import { unref } from "./timers.js";
import { type Isolated, copy, freeze } from "./value.js";
import { Waits } from "./waits.js";

/** How values are kept apart from what callers have: a copy each way, one that is frozen, or not at all. */
export type CopyMode = "isolate" | "freeze" | "none";

/** How a cache in memory is bounded, and treats loads and time. Times are milliseconds. */
export interface MemoryConfig {
  readonly maxBytes: number;
  readonly maxEntries: number | undefined;
  readonly jitter: number;
  readonly early: number;
  readonly loadTimeout: number;
  readonly copy: CopyMode;
  readonly clock: Clock;
  /** Is told of what users should know and cannot be thrown at anybody. */
  readonly log: (message: string) => void;
  /** Sets up what texts mean in a new core. */
  readonly prepare: (core: Core) => void;
}

/** What an entry takes beside its key and value: its places in the tables, more or less filled. */
const ENTRY_BYTES = 72;

/** What the promise of a value takes, and its place, where values are handed out as they are. */
const ANSWER_BYTES = 48;

const DONE = 0;
const STALE = 1;
const LOAD = 2;

type Passing = { readonly value: unknown } | { readonly error: unknown };
type Hit = (number: number, now: number) => number;

export class MemoryTier implements Tier {
  readonly name: string = "memory";
  readonly capabilities: Capabilities = { ...SHARED, reach: "process" };
  readonly #config: MemoryConfig;
  readonly #clock: Clock;
  readonly #isIsolating: boolean;
  readonly #entryBytes: number;
  readonly #hub = new Hub();
  /** Channels that are taken literally are none of the cache's own, whatever they are called. */
  readonly #literal = new Hub();
  #core: Core;
  #hit: Hit;
  #get: Hit;
  /** Counts the cores that there were: what was begun on one of them means nothing to the next. */
  #era = 0;
  #numbers = new Map<string, number>();
  #values: unknown[] = [];
  /** Promises of values that are handed out as they are, made when they are first asked for. */
  #answers: (Promise<unknown> | undefined)[] = [];
  #keys: (string | undefined)[] = [];
  #free: number[] = [];
  #waits = new Waits();
  /** Numbers of waits for locks begin here, far from those that the core gives to waits for loads. */
  #nextLockWait = 0x8000_0000;
  /** What the core has just passed on to those who wait. */
  #passing: Passing | undefined;
  #tending: ReturnType<typeof setTimeout> | undefined;
  #isEnabled = true;
  #isSeeded = false;

  constructor(config: MemoryConfig) {
    this.#config = config;
    this.#clock = config.clock;
    this.#isIsolating = config.copy === "isolate";
    this.#entryBytes = this.#isIsolating ? ENTRY_BYTES : ENTRY_BYTES + ANSWER_BYTES;
    this.#core = this.#open();
    this.#hit = this.#core.calls["hit"] as Hit;
    this.#get = this.#core.calls["get"] as Hit;
  }

  #open(): Core {
    const { maxBytes, maxEntries, jitter, early, loadTimeout, prepare } = this.#config;
    const core = new Core(MEMORY);
    const seed = drawSeed();
    this.#isSeeded = seed !== undefined;
    core.begin().bytes(seed ?? NO_SEED);
    core.call("open_memory", maxBytes, maxEntries ?? -1, jitter, early, loadTimeout);
    prepare(core);
    return core;
  }

  /** Called before anything is stored, loaded or locked: a core that has no seed is replaced. */
  #seeded(): void {
    if (this.#isSeeded) return;
    this.#renew();
    if (!this.#isSeeded) throw new NoSeedError();
  }

  /** Goes on with a new core, empty: the old one broke off in the midst of a call. */
  #restart(trapped: Trapped): void {
    this.#era++;
    this.#renew();
    this.#config.log(`the cache's core broke off and was started anew, empty: ${trapped.message}`);
    const waits = this.#waits;
    this.#waits = new Waits();
    waits.wakeAll();
  }

  #renew(): void {
    this.#core = this.#open();
    this.#hit = this.#core.calls["hit"] as Hit;
    this.#get = this.#core.calls["get"] as Hit;
    this.#numbers = new Map();
    this.#values = [];
    this.#answers = [];
    this.#keys = [];
    this.#free = [];
    if (!this.#isEnabled) this.#core.calls["switch"]!(0);
  }

  /** Makes a call that may let values go or end waits. Where the core breaks off it is made once more, of the next one. */
  #change<T>(call: (core: Core) => T): T {
    try {
      return this.#attempt(call);
    } catch (error) {
      if (!(error instanceof Trapped)) throw error;
      return this.#attempt(call);
    }
  }

  #attempt<T>(call: (core: Core) => T): T {
    const core = this.#core;
    try {
      return call(core);
    } catch (error) {
      if (error instanceof Trapped && core === this.#core) this.#restart(error);
      throw error;
    } finally {
      if (this.#core.isUnsettled) this.#settle();
    }
  }

  #settle(): void {
    const core = this.#core;
    if (core.hasLeft) {
      core.begin().call("take_left");
      for (const number of core.readCounts()) {
        const key = this.#keys[number];
        // Another may have taken its place under the same key.
        if (key !== undefined && this.#numbers.get(key) === number) this.#numbers.delete(key);
        this.#forget(number);
      }
    }
    this.#waits.settle(core);
  }

  #trapped(error: unknown): void {
    const trapped = this.#core.trap(error);
    if (!(trapped instanceof Trapped)) throw trapped;
    this.#restart(trapped);
  }

  text<T>(call: (core: Core) => T): T {
    return this.#change(call);
  }

  checkKey(key: string): void {
    // So many letters are no more bytes than a key may have.
    if (key.length > 0 && key.length <= 341) return;
    this.#change((core) => core.begin().text(key).call("check_key"));
  }

  // -- reads

  #read(kept: unknown): unknown {
    return this.#isIsolating ? copy(kept) : kept;
  }

  /** The number of a value that is a hit, which is counted; or `undefined`, and nothing is. */
  #found(key: string): number | undefined {
    const number = this.#numbers.get(key);
    if (number === undefined) return undefined;
    try {
      return this.#hit(number, this.#clock.now()) === 0 ? undefined : number;
    } catch (error) {
      this.#trapped(error);
      return undefined;
    }
  }

  hit(key: string): unknown {
    const number = this.#found(key);
    return number === undefined ? undefined : this.#read(this.#values[number]);
  }

  /** As {@link MemoryTier.hit}, for who awaits it. */
  answer(key: string): Promise<unknown> | undefined {
    const number = this.#found(key);
    if (number === undefined) return undefined;
    if (this.#isIsolating) return Promise.resolve(copy(this.#values[number]));
    // Who is given the value itself may be given the same promise of it: to make one takes longer than to find the value.
    while (this.#answers.length <= number) this.#answers.push(undefined);
    return (this.#answers[number] ??= Promise.resolve(this.#values[number]));
  }

  get(key: string): unknown {
    const number = this.#numbers.get(key);
    try {
      if (this.#get(number ?? -1, this.#clock.now()) === 0) return undefined;
    } catch (error) {
      this.#trapped(error);
      return undefined;
    }
    return this.#read(this.#values[number!]);
  }

  getMany(keys: readonly string[]): unknown[] {
    return keys.map((key) => this.get(key));
  }

  exists(key: string): boolean {
    return this.#change((core) => core.begin().text(key).call("fresh_for", this.#clock.now()) !== 0);
  }

  ttl(key: string): number | undefined {
    return this.#change((core) => {
      const isThere = core.begin().text(key).call("fresh_for", this.#clock.now()) !== 0;
      return isThere ? core.register(0) : undefined;
    });
  }

  explain(key: string): Explained {
    return this.#change((core) => {
      core.begin().text(key).call("explain", this.#clock.now());
      return readExplained(core, "memory");
    });
  }

  async *keys(pattern: string): AsyncGenerator<readonly string[]> {
    const matches = (key: string): boolean => this.#change((core) => core.begin().text(pattern).text(key).call("glob_matches") !== 0);
    // Refused even where there is no key.
    matches("");
    const all = [...this.#numbers.keys()];
    for (let at = 0; at < all.length; at += PAGE) yield all.slice(at, at + PAGE).filter((key) => matches(key) && this.exists(key));
  }

  // -- loads

  ticket(): number {
    this.#seeded();
    return this.#change((core) => core.run(() => core.calls["ticket"]!()));
  }

  begin(key: string, want: Want): Eventually<Step> {
    return this.look(key, want);
  }

  protected look(key: string, want: Want): Step {
    this.#seeded();
    return this.#change((core) => {
      const step = core
        .begin()
        .text(key)
        .call("begin", want.since, want.again ? 1 : 0, this.#clock.now());
      if (step === DONE) return { kind: "value", value: this.#read(this.#values[core.register(0)]) };
      if (step === STALE) {
        const value = this.#read(this.#values[core.register(0)]);
        return { kind: "stale", value, lease: this.#lease(key, true) };
      }
      if (step === LOAD) return { kind: "load", lease: this.#lease(key, true) };
      const join = this.#join(core.register(1), core.register(2), core.register(3));
      if (!want.isImpatient) return { kind: "join", join };
      join.leave();
      return { kind: "later" };
    });
  }

  overdue(key: string, want: Want): Lease {
    const step = this.look(key, { ...want, again: true, isImpatient: true });
    return step.kind === "load" || step.kind === "stale" ? step.lease : this.bypass(key);
  }

  bypass(key: string): Lease {
    return this.#change((core) => {
      core.begin().text(key).call("bypass", this.#clock.now());
      return this.#lease(key, false);
    });
  }

  #join(wait: number, ticket: number, atMost: number): Join {
    const era = this.#era;
    let settle!: (ended: Ended) => void;
    const ended = new Promise<Ended>((resolve) => (settle = resolve));
    this.#waits.add(wait, () => {
      if (era !== this.#era) return settle({ kind: "again" });
      const ending = this.#core.run(() => this.#core.calls["ending"]!(wait));
      const passing = this.#passing;
      if (ending === 0 && passing !== undefined && "value" in passing) settle({ kind: "value", value: this.#read(passing.value) });
      else if (ending === 1 && passing !== undefined && "error" in passing) settle({ kind: "failed", error: passing.error });
      else settle({ kind: "again" });
    });
    const leave = (): void => {
      if (era !== this.#era) return;
      this.#waits.remove(wait);
      this.#change((core) => core.begin().call("leave", wait));
    };
    return { ticket, atMost, ended, leave };
  }

  #lease(key: string, leads: boolean): Lease {
    const [number, ticket, era] = [this.#core.register(1), this.#core.register(2), this.#era];
    let isOver = false;
    const end = (how: (core: Core) => void, passing?: { error: unknown }): void => {
      if (isOver || era !== this.#era) return;
      isOver = true;
      this.#pass(passing, how);
    };
    return {
      key,
      ticket,
      leads,
      fallback: () => {
        if (isOver || era !== this.#era) return undefined;
        const stale = this.#change((core) => core.run(() => core.calls["fallback"]!(number, this.#clock.now())));
        return stale < 0 ? undefined : this.#read(this.#values[stale]);
      },
      fill: (value, terms) => {
        if (isOver || era !== this.#era) return { isStored: false, value: this.#read(this.#keep(value)) };
        isOver = true;
        return this.#fill(number, key, value, terms);
      },
      fail: (error) => end((core) => core.begin().call("fail", number, this.#clock.now()), { error }),
      abandon: () => end((core) => core.begin().call("abandon", number)),
    };
  }

  #pass<T>(passing: Passing | undefined, call: (core: Core) => T): T {
    this.#passing = passing;
    try {
      return this.#change(call);
    } finally {
      this.#passing = undefined;
    }
  }

  #fill(lease: number, key: string, value: Isolated, terms: Terms): Filled {
    const kept = this.#keep(value);
    const isStored = this.#pass({ value: kept }, () =>
      this.#put(key, kept, (core, number) => {
        core.begin().text(key).texts(terms.tags);
        return core.call("fill", lease, number, terms.ttl, terms.grace, value.weight + this.#entryBytes, this.#clock.now()) === 0;
      }),
    );
    return { isStored, value: this.#read(kept) };
  }

  // -- writes

  #keep(value: Isolated): unknown {
    return this.#config.copy === "freeze" ? freeze(value.kept) : value.kept;
  }

  /** Gives a value a number and has the core store it, or not. */
  #put(key: string, kept: unknown, store: (core: Core, number: number) => boolean): boolean {
    this.#seeded();
    this.#tend(TEND_EVERY);
    return this.#change((core) => {
      const number = this.#free.pop() ?? this.#values.length;
      this.#place(number, kept, key);
      let isStored = false;
      try {
        isStored = store(core, number);
      } finally {
        if (!isStored) this.#forget(number);
      }
      if (isStored) this.#numbers.set(key, number);
      return isStored;
    });
  }

  #forget(number: number): void {
    this.#place(number, undefined, undefined);
    this.#free.push(number);
  }

  #place(number: number, kept: unknown, key: string | undefined): void {
    this.#values[number] = kept;
    this.#keys[number] = key;
    if (number < this.#answers.length) this.#answers[number] = undefined;
  }

  set(key: string, value: Isolated, { ttl, grace, tags }: Terms): Stored {
    const isStored = this.#put(key, this.#keep(value), (core, number) => {
      core.begin().text(key).texts(tags);
      return core.call("set", number, ttl, grace, value.weight + this.#entryBytes, this.#clock.now()) !== 0;
    });
    return isStored ? "stored" : "tooLarge";
  }

  setMany(items: readonly (readonly [string, Isolated])[], terms: Terms): Stored {
    const became = items.map(([key, value]) => this.set(key, value, terms));
    return became.find((stored) => stored !== "stored") ?? "stored";
  }

  add(key: string, value: Isolated, { ttl }: Terms): boolean {
    return this.#put(key, this.#keep(value), (core, number) => {
      return (
        core
          .begin()
          .text(key)
          .call("add", number, ttl, value.weight + this.#entryBytes, this.#clock.now()) !== 0
      );
    });
  }

  incr(key: string, by: number, { ttl }: Terms): number {
    const there = this.#change((core) => {
      core.begin().text(key).call("peek", this.#clock.now());
      return core.register(0);
    });
    const sum = counted(key, there < 0 ? 0 : this.#values[there], by);
    this.#put(
      key,
      sum,
      (core, number) =>
        core
          .begin()
          .text(key)
          .call("replace", number, ttl, 8 + this.#entryBytes, this.#clock.now()) !== 0,
    );
    return sum;
  }

  touch(key: string, ttl: number): boolean {
    return this.#change((core) => core.begin().text(key).call("touch", ttl, this.#clock.now()) !== 0);
  }

  // -- invalidation

  #removed(count: number): Removed {
    return { count, queued: false };
  }

  deleteMany(keys: readonly string[]): Removed {
    let count = 0;
    for (const key of keys) count += this.#change((core) => core.begin().text(key).call("delete", this.#clock.now()));
    return this.#removed(count);
  }

  invalidatePattern(pattern: string): Removed {
    return this.#removed(this.#change((core) => core.begin().text(pattern).call("invalidate_pattern", this.#clock.now())));
  }

  invalidateTags(tags: readonly string[]): Removed {
    return this.#removed(this.#change((core) => core.begin().texts(tags).call("invalidate_tags")));
  }

  clear(): Removed {
    return this.#removed(this.#change((core) => core.begin().call("clear", this.#clock.now())));
  }

  emit(event: string, about: readonly (readonly [string, string])[]): Removed {
    return this.#removed(
      this.#change((core) => {
        core.begin().text(event).count(about.length);
        for (const [name, text] of about) core.text(name).text(text);
        return core.call("emit", this.#clock.now());
      }),
    );
  }

  // -- locks and messages

  lock(name: string, ttl: number): Held | undefined {
    this.#seeded();
    const got = this.#change((core) => {
      const isGot = core.begin().text(name).call("lock", ttl, this.#clock.now()) !== 0;
      return isGot ? { token: core.register(0), fence: core.register(1) } : undefined;
    });
    if (got === undefined) return undefined;
    const era = this.#era;
    return {
      fence: got.fence,
      extend: (longer) =>
        era === this.#era &&
        this.#change((core) => core.begin().text(name).call("extend_lock", got.token, longer, this.#clock.now()) !== 0),
      release: () => {
        if (era !== this.#era) return false;
        const isReleased = this.#change((core) => core.begin().text(name).call("unlock", got.token, this.#clock.now()) !== 0);
        return isReleased;
      },
    };
  }

  async lockFreed(name: string, atMost: number, signal: AbortSignal | undefined): Promise<void> {
    const wait = this.#nextLockWait++;
    const era = this.#era;
    const waiting = this.#change((core) => {
      const isHeld = core.begin().text(name).call("await_lock", wait, this.#clock.now()) !== 0;
      return isHeld ? { number: core.register(0), until: core.register(1) } : undefined;
    });
    if (waiting === undefined) return;
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(resolve, Math.min(atMost, waiting.until + 1, 0x7fff_ffff));
        this.#waits.add(wait, () => {
          clearTimeout(timer);
          resolve();
        });
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(signal.reason as Error);
        });
      });
    } finally {
      this.#waits.remove(wait);
      if (era === this.#era) this.#change((core) => core.begin().call("leave_lock", waiting.number));
    }
  }

  publish(channel: string, message: Isolated, isRaw: boolean): number {
    return (isRaw ? this.#literal : this.#hub).publish(channel, () => copy(message.kept));
  }

  subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox {
    return (isRaw ? this.#literal : this.#hub).subscribe(channels, limit);
  }

  // -- the rest

  ping(): boolean {
    return true;
  }

  stats(): Stats {
    return this.#change((core) => {
      core.begin().call("stats");
      return readStats(core, { memoryHits: 0, undecodable: 0, staleOnError: 0, restarts: this.#era });
    });
  }

  resetStats(): void {
    this.#change((core) => core.run(() => core.calls["reset_stats"]!()));
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  set isEnabled(enabled: boolean) {
    this.#isEnabled = enabled;
    this.#change((core) => core.run(() => core.calls["switch"]!(enabled ? 1 : 0)));
  }

  /**
   * Lets what is over leave without being read, now and then, while there is something that will be. At the edge a timer may be
   * dropped with the request that set it: there, what is stored later makes room.
   */
  #tend(after: number): void {
    if (this.#tending !== undefined) return;
    this.#tending = setTimeout(() => {
      this.#tending = undefined;
      const [hasMore, due] = this.#change((core) => {
        const more = core.begin().call("expire", this.#clock.now());
        return [more !== 0, core.register(0)];
      });
      if (hasMore) this.#tend(0);
      else if (due !== Infinity) this.#tend(TEND_EVERY);
    }, after);
    unref(this.#tending);
  }

  close(): void {
    clearTimeout(this.#tending);
    this.#tending = undefined;
    this.#hub.closeAll();
    this.#literal.closeAll();
    this.clear();
  }
}

/** Keys that are looked at in one go. */
const PAGE = 1_000;

/** How often values whose time is over are looked for. */
const TEND_EVERY = 1_000;

/** The sum that a counter comes to. */
export function counted(key: string, value: unknown, by: number): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new NotACounterError(`${key} holds no whole number: delete it, or count elsewhere`);
  }
  const sum = value + by;
  if (!Number.isSafeInteger(sum)) throw new NotACounterError(`${key} would leave what a number can count to`);
  return sum;
}
