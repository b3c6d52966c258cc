/**
 * Tier: what a cache asks of the place where its values are, in memory or in a store that processes share.
 *
 * A tier decides nothing by itself: it puts the core's questions and answers into the host's terms. Calls may answer at once or
 * with a promise; the memory never makes one.
 */
import type { Capabilities } from "./capabilities.js";
import type { Core } from "./core.js";
import type { Isolated } from "./value.js";

/** What a call gives, now or later. */
export type Eventually<T> = T | Promise<T>;

/** How a value is to be stored, checked: milliseconds, infinite for ever. */
export interface Terms {
  readonly ttl: number;
  readonly grace: number;
  readonly tags: readonly string[];
}

/** The right to load one key. The first of `fill`, `fail` and `abandon` counts. */
export interface Lease {
  readonly key: string;
  /** Under which it loads: later ones are greater. */
  readonly ticket: number;
  /** Whether others wait for this load: of one that goes past them nothing is stored. */
  readonly leads: boolean;
  /** What may be served should the load fail: a copy, or `undefined`. */
  fallback(): unknown;
  /** Stores what was loaded unless something was invalidated since; gives the copy that a reader would get. */
  fill(value: Isolated, terms: Terms): Eventually<Filled>;
  /** Passes the loader's error to those who wait. */
  fail(error: unknown): void;
  /** Gives the load up: one of those who wait loads. */
  abandon(): void;
}

export interface Filled {
  readonly isStored: boolean;
  readonly value: unknown;
}

/** A place among those who wait for a load. */
export interface Join {
  readonly ticket: number;
  /** How long to wait at most, in milliseconds. */
  readonly atMost: number;
  /** How it ended. */
  readonly ended: Promise<Ended>;
  /** Waits no more. */
  leave(): void;
}

export type Ended =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "again" };

/** What a look-up comes to. */
export type Step =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "stale"; readonly value: unknown; readonly lease: Lease }
  | { readonly kind: "load"; readonly lease: Lease }
  | { readonly kind: "join"; readonly join: Join }
  | { readonly kind: "failed"; readonly error: unknown }
  /** Another loads, and the caller did not want to wait. */
  | { readonly kind: "later" };

/** How a look-up is meant. */
export interface Want {
  /** Only what was loaded under a later ticket will do; negative where anything will. */
  readonly since: number;
  /** The tags that the value will have; `undefined` where that is known only later. */
  readonly tags: readonly string[] | undefined;
  /** Whether it was counted before. */
  readonly again: boolean;
  /** The tickets of loads that the caller is in the middle of. */
  readonly own: readonly number[];
  /** Whether to answer `later` instead of waiting, or saying what to wait for. */
  readonly isImpatient: boolean;
  /** Ends the waiting. */
  readonly signal: AbortSignal | undefined;
  /** Is told whose load, by its ticket, is waited for; what it gives is to be called when the waiting is over, however it ends. */
  joined(ticket: number): () => void;
}

/** What became of a value, or of the first of several that met with trouble: what was not stored for certain is invalidated. */
export type Stored = "stored" | "tooLarge" | "unsure";

/** What an invalidation came to. */
export interface Removed {
  readonly count: number;
  /** Whether the backend could not be told yet. */
  readonly queued: boolean;
}

/**
 * What memory in front of a store is worth: it is told of changes (`tracking`), or told in another way (`fallback`); nothing was heard of
 * the connection that tells it, so that it answers nothing (`suspect`); or it is told nothing here and keeps nothing (`off`). Where the
 * store tells nobody, it has each value for a stated time (`ttl`), and answers nothing while this cache owes the store an invalidation.
 */
export type Coherence = "tracking" | "fallback" | "suspect" | "off" | "ttl";

/** Of memory in front of a store; `undefined` where there is none. */
export interface CoherenceFacts {
  readonly coherence?: Coherence | undefined;
  /** Milliseconds since the store last told of a change. */
  readonly lastPush?: number | undefined;
}

/** What is known of a key. Times are milliseconds. */
export interface Explained extends CoherenceFacts {
  /** Where the value is: in memory, or in the store; `undefined` without one. */
  readonly tier: string | undefined;
  /** `unknown` where the store could not be asked. */
  readonly state: "fresh" | "stale" | "absent" | "unknown";
  /** Why there is nothing to serve. */
  readonly whyAbsent: string | undefined;
  /** Since when it has been stored. */
  readonly age: number | undefined;
  readonly freshFor: number | undefined;
  readonly usableFor: number | undefined;
  readonly loadTime: number | undefined;
  readonly bytes: number | undefined;
  /** Since when a load has been under way. */
  readonly loadingFor: number | undefined;
  /** How long ago its last value left. */
  readonly removedAgo: number | undefined;
  readonly tags: readonly string[];
}

/** What a cache has done so far. */
export interface Stats extends CoherenceFacts {
  readonly hits: number;
  /** Among hits and stale ones, those that memory in front of a store has answered. */
  readonly memoryHits: number;
  readonly stale: number;
  readonly misses: number;
  readonly loads: number;
  readonly loadFailures: number;
  readonly loadsRefused: number;
  readonly stores: number;
  readonly evictions: number;
  readonly expirations: number;
  readonly invalidations: number;
  readonly replacements: number;
  readonly tooLarge: number;
  readonly takeovers: number;
  readonly foreign: number;
  readonly faults: number;
  readonly queued: number;
  readonly entries: number;
  readonly bytes: number;
  readonly flights: number;
  /** Milliseconds spent in loads that ended with a value. */
  readonly loadTime: number;
  /** Of all look-ups, those that found something; 0 before the first. */
  readonly hitRate: number;
  readonly missRate: number;
  /** Values that could not be read and were loaded anew. */
  readonly undecodable: number;
  /** Loads that failed while a stale value was served. */
  readonly staleOnError: number;
  /** How often the core had to be started anew, empty. */
  readonly restarts: number;
}

export interface Tier {
  /** As the log names it. */
  readonly name: string;
  readonly capabilities: Capabilities;
  /** Asks the core what a text means. */
  text<T>(call: (core: Core) => T): T;
  /** Refuses what is no key; called for every key that comes from outside. */
  checkKey(key: string): void;
  /**
   * Serves a fresh value out of memory, counted as a hit; `undefined`, which no value is, and counted as nothing, where `begin` must
   * decide. What is read in another way is not answered by memory in front of a store.
   */
  hit(key: string): unknown;
  /** The value, a stale one included; `undefined` where there is none. */
  get(key: string): Eventually<unknown>;
  getMany(keys: readonly string[]): Eventually<unknown[]>;
  exists(key: string): Eventually<boolean>;
  /** Milliseconds, infinite for ever, or `undefined` where there is no value. */
  ttl(key: string): Eventually<number | undefined>;
  explain(key: string): Eventually<Explained>;
  /** The keys of values that match, in pages; those that come or go meanwhile may be there or not. */
  keys(pattern: string): AsyncIterable<readonly string[]>;

  ticket(): number;
  begin(key: string, want: Want): Eventually<Step>;
  /** The right to load without storing. */
  bypass(key: string): Lease;
  /** For who may not wait any longer: the lease of a load that runs past its limit, or one that stores nothing. */
  overdue(key: string, want: Want): Lease;

  set(key: string, value: Isolated, terms: Terms): Eventually<Stored>;
  setMany(items: readonly (readonly [string, Isolated])[], terms: Terms): Eventually<Stored>;
  add(key: string, value: Isolated, terms: Terms): Eventually<boolean>;
  incr(key: string, by: number, terms: Terms): Eventually<number>;
  touch(key: string, ttl: number): Eventually<boolean>;

  deleteMany(keys: readonly string[]): Eventually<Removed>;
  invalidatePattern(pattern: string): Eventually<Removed>;
  invalidateTags(tags: readonly string[]): Eventually<Removed>;
  clear(): Eventually<Removed>;
  /** Carries out what the rules make of an event. */
  emit(event: string, about: readonly (readonly [string, string])[]): Eventually<Removed>;

  lock(name: string, ttl: number): Eventually<Held | undefined>;
  /** Waits until it may be free, so long at most. */
  lockFreed(name: string, atMost: number, signal: AbortSignal | undefined): Promise<void>;

  publish(channel: string, message: Isolated, isRaw: boolean): Eventually<number>;
  subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox;

  ping(): Eventually<boolean>;
  stats(): Stats;
  resetStats(): void;
  isEnabled: boolean;
  close(): Eventually<void>;
}

/** One holding of a lock. */
export interface Held {
  readonly fence: number;
  extend(ttl: number): Eventually<boolean>;
  release(): Eventually<boolean>;
}

/** What was published and not taken yet. */
export interface Inbox {
  take(): { readonly channel: string; readonly data: unknown } | undefined;
  /** Resolves when there may be something to take, or never will be; `false` once it is closed. */
  arrived(): Promise<boolean>;
  readonly dropped: number;
  close(): void;
}
