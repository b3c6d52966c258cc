/**
 * Tabs: caches in memory that are kept in step, in the tabs and workers of one origin.
 *
 * Each has values of its own. What one of them is told to invalidate or to store is said to the others over a `BroadcastChannel`: the
 * key, pattern, tags or event, and never a value. They invalidate it as if they had been told themselves, so that what is being loaded
 * there is not stored either. Such a message is on its way when the call returns, and arrives a moment later.
 *
 * Where there are Web Locks, the tabs load a key one after the other. Each still loads a copy of its own; but who comes later finds in
 * the browser's HTTP cache what the first has fetched, and a server is not asked by all tabs at once. Whoever waited two seconds loads
 * all the same. Tabs that are to share one load and its value share a store: `donjon/indexeddb`.
 *
 * A tab that was frozen, put aside or asleep has missed messages, and its clock may have stood still: when it wakes it clears its memory.
 *
 * Locks, counters (`incr`), `add`, `touch` and messages are of each tab alone.
 */
import type { Store, TierTerms } from "./cache.js";
import { ConfigError } from "./errors.js";
import { MemoryTier } from "./memory.js";
import { unref } from "./timers.js";
import type { Eventually, Lease, Removed, Step, Stored, Terms, Want } from "./tier.js";
import type { Isolated } from "./value.js";
import { onWake } from "./waking.js";

/**
 * A store in memory that is in step with those of the same namespace in other tabs and workers.
 *
 * @throws {@link ConfigError} where the host has no `BroadcastChannel`.
 * @example
 * ```ts
 * const cache = createCache({ namespace: "app", store: tabs() });
 * ```
 */
export function tabs(): Store {
  if (typeof BroadcastChannel === "undefined")
    throw new ConfigError("this host has no BroadcastChannel: there are no tabs to be in step with");
  return { open: (terms) => new TabsTier(terms) };
}

/**
 * How long a tab waits for its turn, in milliseconds. No longer: two loads that load each other's keys within would wait for each other.
 */
const TURN = 2_000;

/** What one tab says to the others. */
type Said =
  | { readonly keys: readonly string[] }
  | { readonly pattern: string }
  | { readonly tags: readonly string[] }
  | { readonly event: string; readonly about: readonly (readonly [string, string])[] }
  | { readonly all: true };

class TabsTier extends MemoryTier {
  override readonly name = "tabs";
  readonly #channel: BroadcastChannel;
  readonly #stopWatching: () => void;
  readonly #namespace: string;
  #isClosed = false;

  constructor(terms: TierTerms) {
    super({ ...terms, ...terms.memory });
    this.#namespace = terms.namespace;
    this.#channel = new BroadcastChannel(`donjon!tabs!${terms.namespace}`);
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => this.#hear(data);
    this.#channel.onmessageerror = () => void super.clear();
    unref(this.#channel);
    this.#stopWatching = onWake(() => void super.clear(), globalThis);
  }

  #say(said: Said): void {
    if (!this.#isClosed) this.#channel.postMessage(said);
  }

  #hear(data: unknown): void {
    const said = Object(data) as { readonly [what: string]: unknown };
    try {
      if (isTexts(said["keys"])) super.deleteMany(said["keys"]);
      else if (typeof said["pattern"] === "string") super.invalidatePattern(said["pattern"]);
      else if (isTexts(said["tags"])) super.invalidateTags(said["tags"]);
      else if (typeof said["event"] === "string") super.emit(said["event"], said["about"] as [string, string][]);
      else super.clear();
    } catch {
      // Of another release, perhaps, or with other rules: what it invalidates is not known, so all of it.
      super.clear();
    }
  }

  // -- loads

  override begin(key: string, want: Want): Eventually<Step> {
    const step = this.look(key, want);
    if (step.kind !== "load" || want.isImpatient || typeof navigator === "undefined" || navigator.locks === undefined) return step;
    return this.#inTurn(key, step.lease, want.signal).then((lease) => ({ kind: "load", lease }));
  }

  /** The lease, once no other tab loads this key. */
  async #inTurn(key: string, lease: Lease, signal: AbortSignal | undefined): Promise<Lease> {
    let done!: () => void;
    const held = new Promise<void>((resolve) => (done = resolve));
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), TURN);
    const giveUp = (): void => patience.abort();
    signal?.addEventListener("abort", giveUp, { once: true });
    await new Promise<void>((begun) => {
      const name = `donjon!${this.#namespace}:${key}`;
      const over = navigator.locks.request(name, { signal: patience.signal }, () => {
        begun();
        return held;
      });
      // Not to be had in time, or not allowed here: then without.
      over.catch(() => begun());
    });
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
    if (signal?.aborted === true) {
      done();
      lease.abandon();
      throw signal.reason;
    }
    const ending = <A extends unknown[], T>(end: (...args: A) => T): ((...args: A) => T) => {
      return (...args) => {
        done();
        return end(...args);
      };
    };
    return { ...lease, fill: ending(lease.fill), fail: ending(lease.fail), abandon: ending(lease.abandon) };
  }

  // -- what others are told

  override set(key: string, value: Isolated, terms: Terms): Stored {
    const stored = super.set(key, value, terms);
    this.#say({ keys: [key] });
    return stored;
  }

  override deleteMany(keys: readonly string[]): Removed {
    const removed = super.deleteMany(keys);
    if (keys.length > 0) this.#say({ keys });
    return removed;
  }

  override invalidatePattern(pattern: string): Removed {
    const removed = super.invalidatePattern(pattern);
    this.#say({ pattern });
    return removed;
  }

  override invalidateTags(tags: readonly string[]): Removed {
    const removed = super.invalidateTags(tags);
    this.#say({ tags });
    return removed;
  }

  override clear(): Removed {
    const removed = super.clear();
    this.#say({ all: true });
    return removed;
  }

  override emit(event: string, about: readonly (readonly [string, string])[]): Removed {
    const removed = super.emit(event, about);
    this.#say({ event, about });
    return removed;
  }

  override close(): void {
    this.#isClosed = true;
    this.#stopWatching();
    this.#channel.close();
    super.close();
  }
}

function isTexts(given: unknown): given is string[] {
  return Array.isArray(given) && given.every((text) => typeof text === "string");
}
