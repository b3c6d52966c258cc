/**
 * Tier: values that processes share in a Redis. The core decides by what protocol; here it is put together of those who speak it.
 */
import type { TierTerms } from "../cache.js";
import { type Capabilities, SHARED } from "../capabilities.js";
import type { Core } from "../core.js";
import { readStats } from "../readings.js";
import type { Explained, Held, Inbox, Lease, Removed, Stats, Step, Stored, Terms, Tier, Want } from "../tier.js";
import { Texts } from "../texts.js";
import type { Isolated } from "../value.js";
import type { Library } from "./connection.js";
import type { Limits } from "./limits.js";
import { Engine } from "./engine.js";
import { Instance } from "./instance.js";
import { Invalidations } from "./invalidate.js";
import { Leases } from "./lease.js";
import { Locks } from "./lock.js";
import { Looks } from "./look.js";
import { Messages } from "./messages.js";
import { Reads } from "./read.js";
import { Renewals } from "./renewals.js";
import type { InFront, Memory } from "./via.js";
import { Writes } from "./write.js";

export class RedisTier implements Tier {
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly #texts: Texts;
  readonly #instance: Instance;
  readonly #near: Memory | undefined;
  readonly #engine: Engine;
  readonly #reads: Reads;
  readonly #renewals: Renewals;
  readonly #leases: Leases;
  readonly #looks: Looks;
  readonly #invalidations: Invalidations;
  readonly #writes: Writes;
  readonly #locks: Locks;
  readonly #messages: Messages;

  constructor(library: Library, terms: TierTerms, options: Limits, inFront?: InFront) {
    const patience = { command: options.commandTimeout ?? 100, connect: options.connectTimeout ?? 250 };
    this.capabilities = { ...SHARED, messages: library.listen !== undefined };
    this.#texts = new Texts(terms.prepare);
    // What is wrong with what it is told is found before anything is opened.
    this.#texts.ask(() => undefined);
    this.#instance = new Instance(terms, options.maxValueBytes ?? 16 * 2 ** 20, library.hasOwnScripts !== true);
    this.#near = inFront?.memory;
    this.#engine = new Engine(this.#instance, library, patience, inFront, terms.log);
    this.name = this.#engine.name;
    this.#reads = new Reads(this.#engine);
    this.#renewals = new Renewals(this.#engine, terms.log);
    this.#leases = new Leases(this.#engine, this.#renewals);
    this.#looks = new Looks(this.#engine, this.#reads, this.#leases);
    this.#invalidations = new Invalidations(this.#engine);
    this.#writes = new Writes(this.#engine, this.#reads, this.#invalidations);
    this.#locks = new Locks(this.#engine);
    this.#messages = new Messages(this.#engine);
  }

  text<T>(call: (core: Core) => T): T {
    return this.#texts.ask(call);
  }

  checkKey(key: string): void {
    if (key.length > 0 && key.length <= 341) return;
    this.#texts.ask((core) => core.begin().text(key).call("check_key"));
  }

  // -- reads

  hit(key: string): unknown {
    return this.#near?.hit(key);
  }

  get(key: string): Promise<unknown> {
    return this.#reads.get(key);
  }

  getMany(keys: readonly string[]): Promise<unknown[]> {
    return this.#reads.getMany(keys);
  }

  exists(key: string): Promise<boolean> {
    return this.#reads.exists(key);
  }

  ttl(key: string): Promise<number | undefined> {
    return this.#reads.ttl(key);
  }

  explain(key: string): Promise<Explained> {
    return this.#reads.explain(key);
  }

  keys(pattern: string): AsyncGenerator<readonly string[]> {
    return this.#reads.keys(pattern);
  }

  // -- loads

  ticket(): number {
    return this.#looks.ticket();
  }

  begin(key: string, want: Want): Promise<Step> {
    return this.#looks.begin(key, want);
  }

  bypass(key: string): Lease {
    return this.#leases.bypass(key);
  }

  overdue(key: string): Lease {
    return this.#leases.bypass(key);
  }

  // -- writes

  set(key: string, value: Isolated, terms: Terms): Promise<Stored> {
    return this.setMany([[key, value]], terms);
  }

  setMany(items: readonly (readonly [string, Isolated])[], terms: Terms): Promise<Stored> {
    return this.#writes.setMany(items, terms);
  }

  add(key: string, value: Isolated, terms: Terms): Promise<boolean> {
    return this.#writes.add(key, value, terms);
  }

  incr(key: string, by: number, terms: Terms): Promise<number> {
    return this.#writes.incr(key, by, terms);
  }

  touch(key: string, ttl: number): Promise<boolean> {
    return this.#writes.touch(key, ttl);
  }

  // -- invalidation

  deleteMany(keys: readonly string[]): Promise<Removed> {
    return this.#invalidations.keys(keys);
  }

  invalidatePattern(pattern: string): Promise<Removed> {
    return this.#invalidations.pattern(pattern);
  }

  invalidateTags(tags: readonly string[]): Promise<Removed> {
    return this.#invalidations.tags(tags);
  }

  clear(): Promise<Removed> {
    return this.invalidatePattern("*");
  }

  async emit(event: string, about: readonly (readonly [string, string])[]): Promise<Removed> {
    const { keys, patterns, tags } = this.#texts.ask((core) => {
      core.begin().text(event).count(about.length);
      for (const [name, text] of about) core.text(name).text(text);
      core.call("plan");
      const texts = (): string[] => Array.from({ length: core.readCount() }, () => core.readText());
      return { keys: texts(), patterns: texts(), tags: texts() };
    });
    // First what a store may refuse.
    const tagged = await this.invalidateTags(tags);
    let { count, queued } = await this.deleteMany(keys);
    for (const pattern of patterns) {
      const removed = await this.invalidatePattern(pattern);
      count += removed.count;
      queued ||= removed.queued;
    }
    return { count, queued: queued || tagged.queued };
  }

  // -- locks and messages

  lock(name: string, ttl: number): Promise<Held | undefined> {
    return this.#locks.take(name, ttl);
  }

  lockFreed(name: string, atMost: number, signal: AbortSignal | undefined): Promise<void> {
    return this.#locks.freed(name, atMost, signal);
  }

  publish(channel: string, message: Isolated, isRaw: boolean): Promise<number> {
    return this.#messages.publish(channel, message, isRaw);
  }

  subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox {
    return this.#messages.subscribe(channels, isRaw, limit);
  }

  // -- the rest

  ping(): Promise<boolean> {
    return this.#engine.ping();
  }

  stats(): Stats {
    const stats = this.#instance.text((core) => {
      core.begin().call("shared_stats");
      return readStats(core, { memoryHits: 0, undecodable: this.#reads.decodeErrors, staleOnError: 0, restarts: this.#instance.era });
    });
    return this.#near === undefined ? stats : { ...this.#near.addTo(stats), ...this.#near.state() };
  }

  resetStats(): void {
    this.#reads.decodeErrors = 0;
    this.#instance.text((core) => core.begin().call("reset_shared_stats"));
    this.#near?.resetStats();
  }

  get isEnabled(): boolean {
    return this.#instance.isEnabled;
  }

  set isEnabled(enabled: boolean) {
    this.#instance.isEnabled = enabled;
    this.#near?.switch(enabled);
  }

  async close(): Promise<void> {
    this.#messages.close();
    await this.#engine.close();
    this.#renewals.close();
  }
}
