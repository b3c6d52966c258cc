/**
 * Tier over rows: refuses what the store cannot promise, and is the shared tier in everything else.
 */
import type { TierTerms } from "../cache.js";
import type { Capabilities } from "../capabilities.js";
import { InvalidKeyError, UnsupportedOperationError } from "../errors.js";
import type { Limits } from "../redis/limits.js";
import { RedisTier } from "../redis/tier.js";
import type { InFront } from "../redis/via.js";
import type { Held, Inbox, Lease, Removed, Step, Stored, Terms, Want } from "../tier.js";
import type { Isolated } from "../value.js";
import { PlainLibrary } from "./library.js";
import type { Table } from "./rows.js";

export interface PlainOptions extends Limits {
  /** How long a name may be, in bytes, the namespace and a colon before the key. */
  readonly maxNameBytes?: number;
}

export class PlainTier extends RedisTier {
  override readonly capabilities: Capabilities;
  readonly #table: Table;
  readonly #namespace: string;
  readonly #maxNameBytes: number | undefined;

  constructor(name: string, table: Table, capabilities: Capabilities, terms: TierTerms, options: PlainOptions, inFront?: InFront) {
    super(new PlainLibrary(name, table), terms, options, inFront);
    this.#table = table;
    this.capabilities = capabilities;
    this.#namespace = terms.namespace;
    this.#maxNameBytes = options.maxNameBytes;
  }

  #refuse(what: string, instead: string): never {
    throw new UnsupportedOperationError(`${what} cannot be had of ${this.name}: ${instead}`);
  }

  #checkTags(tags: readonly string[]): void {
    if (tags.length > 0 && !this.capabilities.tags) this.#refuse("tags", "invalidate by key or pattern, or use another store");
  }

  #checkConditions(what: string): void {
    if (!this.capabilities.conditions) this.#refuse(what, "it takes no writes that depend on what is there");
  }

  #checkMessages(): void {
    if (!this.capabilities.messages) this.#refuse("messages", "it tells nobody of anything");
  }

  override checkKey(key: string): void {
    super.checkKey(key);
    if (this.#maxNameBytes === undefined) return;
    const bytes = new TextEncoder().encode(key).length + this.#namespace.length + 1;
    if (bytes > this.#maxNameBytes) {
      throw new InvalidKeyError(
        `a key is at most ${this.#maxNameBytes} bytes in ${this.name}, with its namespace; this one is ${bytes}: shorten it, or use a hash of it`,
      );
    }
  }

  override async begin(key: string, want: Want): Promise<Step> {
    this.#checkTags(want.tags ?? []);
    if (this.capabilities.tags) return super.begin(key, want);
    const step = await super.begin(key, { ...want, tags: [] });
    if (!("lease" in step) || want.tags !== undefined) return step;
    const { lease } = step;
    // Looked up by hand: which tags it has is known only now.
    const fill: Lease["fill"] = async (value, terms) => {
      try {
        this.#checkTags(terms.tags);
      } catch (error) {
        lease.abandon();
        throw error;
      }
      return lease.fill(value, terms);
    };
    return { ...step, lease: { ...lease, fill } };
  }

  override async setMany(items: readonly (readonly [string, Isolated])[], terms: Terms): Promise<Stored> {
    this.#checkTags(terms.tags);
    return super.setMany(items, terms);
  }

  override async add(key: string, value: Isolated, terms: Terms): Promise<boolean> {
    this.#checkConditions("`add`");
    return super.add(key, value, terms);
  }

  override async incr(key: string, by: number, terms: Terms): Promise<number> {
    this.#checkConditions("`incr`");
    return super.incr(key, by, terms);
  }

  override async touch(key: string, ttl: number): Promise<boolean> {
    this.#checkConditions("`touch`");
    return super.touch(key, ttl);
  }

  override async invalidateTags(tags: readonly string[]): Promise<Removed> {
    this.#checkTags(tags);
    return super.invalidateTags(tags);
  }

  override async lock(name: string, ttl: number): Promise<Held | undefined> {
    if (!this.capabilities.locks) this.#refuse("a lock", "two processes could hold it at once");
    return super.lock(name, ttl);
  }

  override async publish(channel: string, message: Isolated, isRaw: boolean): Promise<number> {
    this.#checkMessages();
    return super.publish(channel, message, isRaw);
  }

  override subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox {
    this.#checkMessages();
    return super.subscribe(channels, isRaw, limit);
  }

  override async close(): Promise<void> {
    await super.close();
    this.#table.close?.();
  }
}
