/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Cache: what a program calls. Checks what it is given, and leaves the rest to the tier where the values are.
 */
import type { Capabilities } from "./capabilities.js";
import { type Clock, hostClock } from "./clock.js";
import type { Core } from "./core.js";
import {
  BackendUnavailableError,
  CacheClosedError,
  ConfigError,
  InvalidKeyError,
  InvalidRuleError,
  InvalidTtlError,
  InvalidationQueuedError,
  UnsupportedValueError,
  ValueTooLargeError,
} from "./errors.js";
import { type KeyPart, checkKey, checkPattern, key as buildKey, nameOf } from "./keys.js";
import { type Asked, type Loader, type Loading, load, loadMany, seek } from "./load.js";
import { type Lock, type LockOptions, takeLock } from "./lock.js";
import { type Lookup, Hit, LookupMiss } from "./lookup.js";
import { type CopyMode, type MemoryConfig, MemoryTier } from "./memory.js";
import { checkNames } from "./options.js";
import { Rules } from "./rules.js";
import { type Subscription, listen } from "./subscription.js";
import { FOREVER, STORE_OPTIONS, type StoreOptions, TermsReader, type Ttl } from "./terms.js";
import type { Eventually, Explained, Removed as Outcome, Stats, Stored, Tier } from "./tier.js";
import { Isolated, weigh } from "./value.js";
import { type WarmOptions, type WarmReport, warm } from "./warm.js";
import { type Wrapped, type WrapOptions, wrap } from "./wrap.js";

/** What every cache can be told. */
export interface CacheOptions {
  /** Letters, digits, `.`, `_` and `-`, up to 64 of them. Default: `app`. */
  readonly namespace?: string | undefined;
  /** Bound of keys, values and bookkeeping in memory. Default: 256 MiB. */
  readonly maxBytes?: number | undefined;
  /** Bound of the number of values in memory. Default: as many as the bytes allow. */
  readonly maxEntries?: number | undefined;
  /** Where a call names none. Default: five minutes. */
  readonly defaultTtl?: Ttl | undefined;
  /** Names for times to live, used as `ttl: "stats"`. `default`, `stats`, `config` and `user_data` are there already. */
  readonly ttlClasses?: Readonly<Record<string, Ttl>> | undefined;
  /** Largest part cut at random from each time to live, from 0 to 1. Default: 0. */
  readonly jitter?: number | undefined;
  /** How eagerly a value is refreshed before it expires, the earlier the longer its load takes; 0 never. Default: 1. */
  readonly early?: number | undefined;
  /** Milliseconds that others wait for a load; then one takes it over, and the rest load for themselves. Default: 30,000. */
  readonly loadTimeout?: number | undefined;
  /**
   * How values in memory are kept apart from what callers have. `isolate`, the default, copies both ways; `freeze` copies what goes
   * in and hands that out frozen; `none` keeps and hands out what it was given, whoever changes it, also what has no JSON form.
   */
  readonly copy?: CopyMode | undefined;
  /** The clock of what is in memory. Default: the host's. */
  readonly clock?: Clock | undefined;
  /** How fresh answers have to be where a call does not say. Default: `local`. */
  readonly mode?: Mode | undefined;
  /** Keeps the host alive for a refresh whose caller was served a stale value: with it, such callers need not wait. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Whether what the backend could not be told is thrown, not only counted. Default: false. */
  readonly strict?: boolean | undefined;
  /** The kill switch, as `enabled` later. Default: true. */
  readonly enabled?: boolean | undefined;
  /** Is told, in a sentence, what users should know and nobody can be thrown at. Default: `console.warn`. */
  readonly log?: ((message: string) => void) | undefined;
  /** Where values are shared with other processes; made by `donjon/redis` and its like. Default: in memory alone. */
  readonly store?: Store | undefined;
}

/**
 * How fresh an answer has to be: with `local` memory in front of a store may give it, late by as long as word of a change takes, and by two
 * seconds at most, or where the store tells nobody of changes by the time that was stated for memory; with `strong` the store does, and
 * what was invalidated before the call is never served. Without such memory both are the same.
 */
export type Mode = "local" | "strong";

/** How a value is read. */
export interface ReadOptions {
  /** How fresh the answer has to be. Default: the cache's `mode`. */
  readonly mode?: Mode | undefined;
}

/** A place for values outside of this process, as a cache is told of it. */
export interface Store {
  /** Opens it for one cache. */
  open(terms: TierTerms): Tier;
}

/** What a cache tells its tier. */
export interface TierTerms {
  readonly namespace: string;
  readonly jitter: number;
  readonly early: number;
  readonly loadTimeout: number;
  readonly log: (message: string) => void;
  /** Sets up what texts mean in a core. */
  readonly prepare: (core: Core) => void;
  /** How values are kept in memory, by a store that keeps them there. */
  readonly memory: Pick<MemoryConfig, "maxBytes" | "maxEntries" | "copy" | "clock">;
}

/** How a value is looked up. */
export interface LoadOptions extends StoreOptions, ReadOptions {
  /** Ends this caller's waiting. The load goes on while anybody else waits for it. */
  readonly signal?: AbortSignal | undefined;
  /** Loads anew, or joins a load that began after this call. */
  readonly forceRefresh?: boolean | undefined;
}

/** How many values left, and whether others have yet to be told. */
export interface Removed {
  readonly count: number;
  readonly queued: boolean;
}

export interface SubscribeOptions {
  /** Whether the channels are taken literally: a cache's own are apart from all others. Default: false. */
  readonly raw?: boolean | undefined;
  /** Messages that wait for a slow listener; beyond it the oldest are dropped and counted. Default: 1,000. */
  readonly limit?: number | undefined;
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
}

/** A cache. Made by {@link createCache}. */
export class Cache {
  /** As it is shown: what is packed has short names. */
  static readonly name = "Cache";
  readonly namespace: string;
  /** Which event invalidates what: see {@link Cache.emit}. */
  readonly rules: Rules;
  readonly #tier: Tier;
  readonly #memory: MemoryTier | undefined;
  readonly #terms: TermsReader;
  readonly #copy: CopyMode;
  readonly #mode: Mode;
  readonly #loading: Loading;
  readonly #strict: boolean;
  readonly #log: (message: string) => void;
  readonly #subscriptions = new Set<Subscription>();
  #staleOnError = 0;
  #isClosed = false;

  /** @internal */
  constructor(options: CacheOptions) {
    const { copy = "isolate", clock = hostClock, log = warnOnConsole } = options;
    const namespace = options.namespace ?? "app";
    this.namespace = namespace;
    if (!["isolate", "freeze", "none"].includes(copy)) throw new ConfigError('`copy` is "isolate", "freeze" or "none"');
    if (typeof namespace !== "string") throw new ConfigError(`a namespace is a text, not ${nameOf(namespace)}`);
    const ttls = Object.entries(options.ttlClasses ?? {});
    const rules: (readonly [string, readonly string[], readonly string[], readonly string[]])[] = [];
    const prepare = (core: Core): void => {
      core.begin().text(namespace).call("check_namespace");
      for (const [name, ttl] of ttls) {
        const ms = lengthOf(core, ttl);
        core.begin().text(name).call("define_ttl", ms);
      }
      for (const [event, keys, patterns, tags] of rules) {
        core.begin().text(event).texts(keys).texts(patterns).texts(tags).call("on");
      }
    };
    const terms: TierTerms = {
      namespace,
      jitter: numberOf("jitter", options.jitter, 0),
      early: numberOf("early", options.early, 1),
      loadTimeout: numberOf("loadTimeout", options.loadTimeout, 30_000),
      log,
      prepare,
      memory: {
        maxBytes: boundOf("maxBytes", options.maxBytes, 256 * 2 ** 20),
        maxEntries: options.maxEntries === undefined ? undefined : boundOf("maxEntries", options.maxEntries, 0),
        copy,
        clock,
      },
    };
    if (options.store === undefined) {
      this.#tier = new MemoryTier({ ...terms, ...terms.memory });
    } else {
      this.#tier = options.store.open(terms);
    }
    if (this.#tier instanceof MemoryTier) {
      this.#memory = this.#tier;
    } else {
      const given = MEMORY_OPTIONS.filter((name) => options[name] !== undefined && options[name] !== "isolate");
      if (given.length > 0) {
        void this.#tier.close();
        throw new ConfigError(`\`${given.join("`, `")}\` is of caches in memory: what is in a store has its own bounds, clock and copies`);
      }
    }
    this.#copy = copy;
    this.#mode = modeOf(options, "local");
    this.#log = log;
    this.#strict = options.strict ?? false;
    this.#terms = new TermsReader((call) => this.#tier.text(call), options.defaultTtl);
    this.#loading = {
      tier: this.#tier,
      isolate: (value) => this.#isolate(value),
      waitUntil: options.waitUntil,
      servedStale: (key, error) => this.#noteStale(key, error),
      running: new Map(),
      waiting: new Map(),
    };
    this.rules = new Rules((...rule) => {
      this.#tier.text((core) => core.begin().text(rule[0]).texts(rule[1]).texts(rule[2]).texts(rule[3]).call("on"));
      rules.push(rule);
    });
    this.enabled = options.enabled ?? true;
  }

  // -- reads

  /**
   * The value of a key, a stale one included; `undefined` where there is none. Never waits.
   *
   * Code that reads, queries and then calls `set` can store what was read before an invalidation, after it. Use
   * {@link Cache.getOrSet}, {@link Cache.wrap} or {@link Cache.lookup}, which cannot.
   */
  get<T = unknown>(key: string, options?: ReadOptions): Promise<T | undefined> {
    try {
      const isLocal = options === undefined ? this.#mode === "local" : this.#isLocal(options);
      const answer = isLocal ? this.#answer(key) : undefined;
      // No function that is `async`: each takes another promise, and three turns to pass on what it was given.
      return (answer ?? Promise.resolve(this.#open().get(this.#key(key)))) as Promise<T | undefined>;
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** As {@link Cache.get}, at once, of what is in memory; over a store, of what is in memory in front of it, if any. */
  peek<T = unknown>(key: string): T | undefined {
    const value = this.#hit(key);
    if (value !== undefined) return value as T;
    this.#open();
    return this.#memory?.get(this.#key(key)) as T | undefined;
  }

  /** A fresh value that is in memory. Whoever finds none looks again: this tells nothing of what is wrong with a key, or stale. */
  #hit(key: string): unknown {
    return this.#isClosed ? undefined : this.#tier.hit(key);
  }

  /** As {@link Cache.#hit}, for who awaits it. */
  #answer(key: string): Promise<unknown> | undefined {
    if (this.#memory !== undefined) return this.#isClosed ? undefined : this.#memory.answer(key);
    const value = this.#hit(key);
    return value === undefined ? undefined : Promise.resolve(value);
  }

  /** Whether memory in front of a store may answer. */
  #isLocal(options: ReadOptions | undefined): boolean {
    if (options === undefined) return this.#mode === "local";
    checkNames(options, READ_OPTIONS);
    return modeOf(options, this.#mode) === "local";
  }

  /** The values of those keys that have one. */
  async getMany<T = unknown>(keys: Iterable<string>, options?: ReadOptions): Promise<Map<string, T>> {
    const all = this.#keys(keys);
    const found = new Map<string, unknown>();
    const rest = this.#isLocal(options) ? this.#notAtHand(all, found) : all;
    const tier = this.#open();
    const values = rest.length === 0 && all.length > 0 ? [] : await tier.getMany(rest);
    for (const [at, key] of rest.entries()) if (values[at] !== undefined) found.set(key, values[at]);
    return inOrder(all, found);
  }

  /** The keys that memory in front of a store does not answer; what it answers is added to `found`. */
  #notAtHand(keys: readonly string[], found: Map<string, unknown>): readonly string[] {
    if (this.#memory !== undefined) return keys;
    return keys.filter((key) => {
      if (found.has(key)) return false;
      const value = this.#hit(key);
      if (value !== undefined) found.set(key, value);
      return value === undefined;
    });
  }

  /** Whether the key has a value that may be served. */
  async exists(key: string): Promise<boolean> {
    return this.#open().exists(this.#key(key));
  }

  /** Milliseconds for which the value is still fresh, infinite for ever; `undefined` where there is none. */
  async ttl(key: string): Promise<number | undefined> {
    return this.#open().ttl(this.#key(key));
  }

  /** What the cache knows of a key: where its value is, until when it is fresh, its tags, and why there is none. */
  async explain(key: string): Promise<Explained> {
    return this.#open().explain(this.#key(key));
  }

  /**
   * The keys of the values that match a pattern: `for await (const key of cache.keys("user:*")) …`.
   *
   * For tools: it goes through all keys, wherever they are. What is stored or leaves meanwhile may come or not, over Redis a key may
   * come twice, and one whose tags were invalidated may be named though it has no value any more.
   */
  keys(pattern = "*"): AsyncGenerator<string, void, undefined> {
    checkPattern(pattern);
    const pages = this.#open().keys(pattern);
    return (async function* () {
      for await (const page of pages) yield* page;
    })();
  }

  // -- loads

  /**
   * The value of a key, loaded by one caller for everyone who asks meanwhile.
   *
   * What was loaded is stored unless the key, a pattern, a tag or the namespace was invalidated since the load began; those who
   * asked after that load anew. What the loader throws reaches everyone who waits, as it is, and is not cached.
   */
  getOrSet<T>(key: string, loader: Loader<T>, options?: LoadOptions): Promise<T> {
    const isAnew = options?.forceRefresh === true || (options?.mode ?? this.#mode) !== "local";
    const answer = isAnew ? undefined : this.#answer(key);
    return (answer as Promise<T> | undefined) ?? this.#getOrSet(key, loader, options);
  }

  async #getOrSet<T>(key: string, loader: Loader<T>, options: LoadOptions | undefined): Promise<T> {
    this.#open();
    this.#key(key);
    if (typeof loader !== "function") throw new TypeError(`a loader is a function, not ${nameOf(loader)}`);
    return load(this.#loading, key, loader, this.#asked(options, LOAD_OPTIONS));
  }

  #asked(options: LoadOptions | undefined, names: readonly string[]): Asked {
    modeOf(options, this.#mode);
    const terms = this.#terms.read(options, names);
    const since = options?.forceRefresh === true ? this.#tier.ticket() : -1;
    return { terms, since, signal: options?.signal };
  }

  /**
   * The values of keys; those that are missing come from one call of `loader`, which gives a `Map` or an object. A key that it
   * leaves out has no value.
   */
  async getOrSetMany<T>(
    keys: Iterable<string>,
    loader: (keys: string[], context: { readonly signal: AbortSignal }) => Eventually<ReadonlyMap<string, T> | Readonly<Record<string, T>>>,
    options?: StoreOptions & ReadOptions & { readonly signal?: AbortSignal | undefined },
  ): Promise<Map<string, T>> {
    this.#open();
    const all = this.#keys(keys);
    if (typeof loader !== "function") throw new TypeError(`a loader is a function, not ${nameOf(loader)}`);
    const asked = this.#asked(options, [...STORE_OPTIONS, ...READ_OPTIONS, "signal"]);
    const found = new Map<string, unknown>();
    const rest = modeOf(options, this.#mode) === "local" ? this.#notAtHand(all, found) : all;
    if (found.size === 0) return loadMany(this.#loading, rest, loader, asked);
    if (rest.length > 0) for (const [key, value] of await loadMany(this.#loading, rest, loader, asked)) found.set(key, value);
    return inOrder(all, found);
  }

  /**
   * A hit, or a miss that holds the right to load: for loads that do not fit into a function. Others who ask for the key wait until
   * the miss is filled or given up.
   *
   * @example
   * ```ts
   * await using found = await cache.lookup("user:5");
   * const user = found.isHit ? found.value : (await found.fill(await query(5), { ttl: "5m" })).value;
   * ```
   */
  async lookup<T = unknown>(key: string, options?: ReadOptions & { readonly signal?: AbortSignal | undefined }): Promise<Lookup<T>> {
    this.#open();
    this.#key(key);
    checkNames(options, [...READ_OPTIONS, "signal"]);
    const value = modeOf(options, this.#mode) === "local" ? this.#hit(key) : undefined;
    if (value !== undefined) return new Hit(value as T);
    const found = await seek(this.#loading, key, { ...this.#asked(undefined, []), signal: options?.signal, hasLateTags: true });
    if (found.lease === undefined) return new Hit(found.value as T);
    return new LookupMiss<T>(found.lease, (value, given) => ({ terms: this.#terms.read(given), kept: this.#isolate(value) }));
  }

  /**
   * A function that caches what `fn` gives, by a key made of its arguments.
   *
   * @example
   * ```ts
   * const profile = cache.wrap(loadProfile, { key: (id: number) => ["user", "profile", id], ttl: "5m", tags: (id) => [`user:${id}`] });
   * await profile(5);
   * await profile.invalidate(5);
   * ```
   */
  wrap<A extends readonly unknown[], T>(fn: (...args: A) => Eventually<T>, options: WrapOptions<A>): Wrapped<A, T> {
    return wrap(this, fn, options);
  }

  // -- writes

  /**
   * Stores a value, whatever is there or is being loaded. Where it does not arrive, its key is invalidated instead.
   *
   * @throws {@link UnsupportedValueError} where the value has no JSON form: nothing was changed.
   */
  async set(key: string, value: unknown, options?: StoreOptions): Promise<void> {
    const tier = this.#open();
    this.#key(key);
    const terms = this.#terms.read(options);
    this.#stored(await tier.set(key, this.#isolate(value), terms));
  }

  /** As {@link Cache.set}, for each of these; what one refuses leaves all as they were. */
  async setMany(items: ReadonlyMap<string, unknown> | Readonly<Record<string, unknown>>, options?: StoreOptions): Promise<void> {
    const tier = this.#open();
    const pairs = [...entriesOf(items)].map(([key, value], at) => {
      this.#key(key, at);
      return [key, this.#isolate(value)] as const;
    });
    this.#stored(await tier.setMany(pairs, this.#terms.read(options)));
  }

  /** Stores a value where there is none; `false` where there is. */
  async add(key: string, value: unknown, options?: Pick<StoreOptions, "ttl">): Promise<boolean> {
    const tier = this.#open();
    this.#key(key);
    checkNames(options, ["ttl"]);
    const terms = this.#terms.read({ ttl: options?.ttl });
    return tier.add(key, this.#isolate(value), terms);
  }

  /**
   * Adds to a whole number, which begins at 0 where there is none; gives the sum. Its time to live is set when it begins.
   *
   * @throws {@link NotACounterError} where the value is no whole number.
   */
  async incr(key: string, by = 1, options?: Pick<StoreOptions, "ttl">): Promise<number> {
    const tier = this.#open();
    this.#key(key);
    if (!Number.isSafeInteger(by)) throw new UnsupportedValueError(`a counter is moved by a whole number, not ${String(by)}`);
    checkNames(options, ["ttl"]);
    return tier.incr(key, by, this.#terms.read({ ttl: options?.ttl }));
  }

  /** Gives a value another time to live from now on; `false` where there is none. */
  async touch(key: string, ttl: Ttl): Promise<boolean> {
    const tier = this.#open();
    return tier.touch(this.#key(key), this.#terms.ttl(ttl));
  }

  // -- invalidation: it holds when the promise resolves

  /** Invalidates a key; `true` where it had a value. */
  async delete(key: string): Promise<boolean> {
    return (await this.deleteMany([key])).count > 0;
  }

  /** Invalidates keys. */
  async deleteMany(keys: Iterable<string>): Promise<Removed> {
    const all = this.#keys(keys);
    return this.#removed(await this.#open().deleteMany(all));
  }

  /**
   * Invalidates the keys that match: a Redis glob; `*` alone means {@link Cache.clear}. Over one Redis it holds for every process after
   * the first round trip, before the keys are gone.
   */
  async invalidatePattern(pattern: string): Promise<Removed> {
    checkPattern(pattern);
    return this.#removed(await this.#open().invalidatePattern(pattern));
  }

  /** Invalidates everything stored with one of the tags, at once; counts the tags. */
  async invalidateTags(...tags: readonly string[]): Promise<Removed> {
    return this.#removed(await this.#open().invalidateTags(this.#terms.tags(tags)));
  }

  /** Invalidates everything in this namespace, and nothing else. */
  async clear(): Promise<Removed> {
    return this.#removed(await this.#open().clear());
  }

  /**
   * Runs the invalidation rules for an event.
   *
   * @example
   * ```ts
   * cache.rules.on("document.updated", { keys: ["document:{id}"], patterns: ["documents:*summary*"] });
   * await cache.emit("document.updated", { id: 123 });
   * ```
   */
  async emit(event: string, about: Readonly<Record<string, KeyPart>> = {}): Promise<Removed> {
    const tier = this.#open();
    if (typeof event !== "string") throw new InvalidRuleError(`an event is a text, not ${nameOf(event)}`);
    const named = Object.entries(about).map(([name, part]) => [name, partText(name, part)] as const);
    return this.#removed(await tier.emit(event, named));
  }

  // -- locks and messages

  /** Takes a lock: one holder at a time among all who share this cache. */
  async lock(name: string, options: LockOptions): Promise<Lock> {
    const tier = this.#open();
    this.#key(name);
    checkNames(options, ["ttl", "wait", "signal"]);
    if (options === undefined || options.ttl === undefined)
      throw new InvalidTtlError("a lock needs a `ttl`: how long it is held should its holder vanish");
    return takeLock(tier, name, (ttl) => this.#lockTtl(ttl), options);
  }

  #lockTtl(given: number | string): number {
    const ttl = this.#terms.ttl(given);
    if (ttl === Infinity) throw new InvalidTtlError("a lock is not held for ever: one whose holder is gone would never be free");
    return ttl;
  }

  /** Sends a value to all who listen to a channel now; gives how many are known of. */
  async publish(channel: string, data: unknown, options?: { readonly raw?: boolean | undefined }): Promise<number> {
    const tier = this.#open();
    this.#key(channel);
    checkNames(options, ["raw"]);
    return tier.publish(channel, new Isolated(data), options?.raw ?? false);
  }

  /**
   * The messages of some channels from now on: `for await (const { data } of cache.subscribe("jobs")) …`.
   */
  subscribe<T = unknown>(channels: string | readonly string[], options: SubscribeOptions = {}): Subscription<T> {
    const tier = this.#open();
    const names = this.#keys(typeof channels === "string" ? [channels] : channels);
    checkNames(options, ["raw", "limit", "signal"]);
    const { raw = false, limit = 1_000, signal } = options;
    if (names.length === 0) throw new InvalidKeyError("a subscription needs a channel");
    if (!Number.isSafeInteger(limit) || limit < 1) throw new ConfigError("`limit` is a whole number from 1 on");
    const inbox = tier.subscribe(names, raw, limit);
    const subscription = listen<T>(inbox, signal, (closed) => this.#subscriptions.delete(closed));
    this.#subscriptions.add(subscription);
    if (signal?.aborted === true) subscription.close();
    return subscription;
  }

  // -- the rest

  /** Fills the cache before anybody asks: keys by a loader, or pairs of keys and values. */
  async warm<T>(keysOrItems: Iterable<string> | Iterable<readonly [string, T]>, options: WarmOptions<T> = {}): Promise<WarmReport> {
    this.#open();
    return warm(this, keysOrItems, options);
  }

  /** What this cache can do, and how far its promises reach. */
  get capabilities(): Capabilities {
    return this.#tier.capabilities;
  }

  /** Whether the backend answers. */
  async ping(): Promise<boolean> {
    return this.#isClosed ? false : this.#tier.ping();
  }

  /** A reading of the counters of this process. */
  stats(): Stats {
    return { ...this.#tier.stats(), staleOnError: this.#staleOnError };
  }

  /** Sets the counters back to zero; what counts the present stays. */
  resetStats(): void {
    this.#staleOnError = 0;
    this.#tier.resetStats();
  }

  /** The share of look-ups that were answered, from 0 to 1. */
  get hitRate(): number {
    return this.stats().hitRate;
  }

  /** The share of look-ups that were not. */
  get missRate(): number {
    return this.stats().missRate;
  }

  /** How many values are in memory. */
  get size(): number {
    return this.stats().entries;
  }

  /**
   * The kill switch. Off, reads miss, loaders run and stores are dropped, while invalidations go on, so that nothing stale is there
   * when it is switched on again.
   */
  get enabled(): boolean {
    return this.#tier.isEnabled;
  }

  set enabled(enabled: boolean) {
    this.#tier.isEnabled = enabled;
  }

  /** Ends the cache and frees what it holds. What is asked of it afterwards throws {@link CacheClosedError}. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const subscription of [...this.#subscriptions]) subscription.close();
    await this.#tier.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** As {@link Cache.close}; nobody waits for what is still to be sent. */
  [Symbol.dispose](): void {
    void this.close();
  }

  #open(): Tier {
    if (this.#isClosed) throw new CacheClosedError("the cache was closed: create another");
    return this.#tier;
  }

  #key(key: string, at?: number): string {
    try {
      checkKey(key);
      this.#tier.checkKey(key);
    } catch (error) {
      if (at === undefined || !(error instanceof InvalidKeyError)) throw error;
      throw new InvalidKeyError(`key number ${at}: ${error.message}`);
    }
    return key;
  }

  #keys(keys: Iterable<string>): string[] {
    if (typeof keys !== "object" || keys === null || !(Symbol.iterator in keys)) {
      throw new InvalidKeyError(`keys are a list of texts, not ${typeof keys === "string" ? "one text" : nameOf(keys)}`);
    }
    return [...keys].map((key, at) => this.#key(key, at));
  }

  #isolate(value: unknown): Isolated {
    if (this.#copy !== "none") return new Isolated(value);
    if (value === undefined) throw new UnsupportedValueError("undefined is no value: keep null where there is nothing");
    return { kept: value, weight: weigh(value), isExact: true } as Isolated;
  }

  #stored(stored: Stored): void {
    if (stored === "stored" || !this.#strict || this.#memory !== undefined || !this.enabled) return;
    if (stored === "tooLarge") {
      throw new ValueTooLargeError("the value is over the store's `maxValueBytes`: it was not stored, and its key is invalidated");
    } else {
      throw new BackendUnavailableError(
        "the value did not arrive for certain: its key is invalidated instead, at once or as soon as that is possible",
      );
    }
  }

  #removed(outcome: Outcome): Removed {
    if (outcome.queued && this.#strict) {
      throw new InvalidationQueuedError("the invalidation could not be sent: it waits, and is sent before this process reads again");
    }
    return outcome;
  }

  #noteStale(key: string, error: unknown): void {
    this.#staleOnError++;
    this.#log(`loading ${key} failed, and its stale value was served: ${error instanceof Error ? error.name : typeof error}`);
  }
}

/**
 * A cache, in memory or over a store.
 *
 * @example
 * ```ts
 * const cache = createCache({ namespace: "app", maxBytes: 64 * 2 ** 20, defaultTtl: "5m" });
 * const user = await cache.getOrSet("user:5", () => query(5), { tags: ["users"] });
 * await cache.invalidateTags("users");
 * ```
 */
export function createCache(options: CacheOptions = {}): Cache {
  checkOptions(options);
  return new Cache(options);
}

/** What options must be where nothing else checks them. */
const KINDS: Readonly<Record<keyof CacheOptions, "object" | "function" | "boolean" | "checked elsewhere">> = {
  namespace: "checked elsewhere",
  maxBytes: "checked elsewhere",
  maxEntries: "checked elsewhere",
  defaultTtl: "checked elsewhere",
  ttlClasses: "object",
  jitter: "checked elsewhere",
  early: "checked elsewhere",
  loadTimeout: "checked elsewhere",
  copy: "checked elsewhere",
  clock: "object",
  mode: "checked elsewhere",
  waitUntil: "function",
  strict: "boolean",
  enabled: "boolean",
  log: "function",
  store: "object",
};

/** Refuses what would go unnoticed: an option that is misspelt, or of another kind. */
function checkOptions(options: CacheOptions): void {
  if (typeof options !== "object" || options === null)
    throw new ConfigError(`the options of a cache are an object, not ${nameOf(options)}`);
  checkNames(options, Object.keys(KINDS));
  for (const [name, given] of Object.entries(options)) {
    const kind = KINDS[name as keyof CacheOptions];
    if (given === undefined || kind === "checked elsewhere") continue;
    if (given === null || typeof given !== kind) throw new ConfigError(`\`${name}\` is of the kind ${kind}, not ${nameOf(given)}`);
  }
  const { store, clock } = options;
  if (store !== undefined && typeof store.open !== "function") {
    throw new ConfigError("`store` is what `redis(client)` of donjon/redis gives, or one of its like: not the client itself");
  }
  if (clock !== undefined && typeof clock.now !== "function") throw new ConfigError("a `clock` has a method `now` that gives milliseconds");
}

const READ_OPTIONS: readonly string[] = ["mode"];
const LOAD_OPTIONS: readonly string[] = [...STORE_OPTIONS, ...READ_OPTIONS, "signal", "forceRefresh"];

const MEMORY_OPTIONS = ["maxBytes", "maxEntries", "copy", "clock"] as const;

function modeOf(options: ReadOptions | undefined, usual: Mode): Mode {
  const mode = options?.mode ?? usual;
  if (mode !== "local" && mode !== "strong") throw new ConfigError('`mode` is "local" or "strong"');
  return mode;
}

function inOrder<T>(keys: readonly string[], found: ReadonlyMap<string, unknown>): Map<string, T> {
  return new Map(keys.filter((key) => found.has(key)).map((key) => [key, found.get(key) as T]));
}

function warnOnConsole(message: string): void {
  console.warn(`donjon: ${message}`);
}

function numberOf(name: string, given: number | undefined, usual: number): number {
  if (given === undefined) return usual;
  if (typeof given !== "number" || !Number.isFinite(given)) throw new ConfigError(`\`${name}\` is a number, not ${nameOf(given)}`);
  return given;
}

function boundOf(name: string, given: number | undefined, usual: number): number {
  const bound = given ?? usual;
  if (!Number.isSafeInteger(bound) || bound < 1) {
    throw new ConfigError(`\`${name}\` is a whole number from 1 on: to keep nothing, write enabled: false`);
  }
  return bound;
}

function lengthOf(core: Core, ttl: Ttl): number {
  if (ttl === FOREVER) return Infinity;
  if (typeof ttl === "number") return ttl === Infinity ? NaN : ttl;
  if (typeof ttl !== "string")
    throw new InvalidTtlError(`a time to live is milliseconds, a text such as "5m", or FOREVER, not ${nameOf(ttl)}`);
  if (!ttl.isWellFormed()) throw new InvalidTtlError("half a surrogate pair is no text");
  core.begin().text(ttl).call("resolve_ttl");
  return core.register(0);
}

function* entriesOf<T>(items: ReadonlyMap<string, T> | Readonly<Record<string, T>>): Iterable<readonly [string, T]> {
  if (items instanceof Map) yield* items as ReadonlyMap<string, T>;
  else if (typeof items === "object" && items !== null && !Array.isArray(items)) yield* Object.entries(items as Record<string, T>);
  else throw new TypeError(`setMany takes a Map or an object, not ${nameOf(items)}`);
}

function partText(name: string, part: KeyPart): string {
  if (typeof part === "string" && part.isWellFormed()) return part;
  try {
    return buildKey(part);
  } catch (error) {
    throw new InvalidRuleError(`\`${name}\`: ${(error as Error).message}`);
  }
}
