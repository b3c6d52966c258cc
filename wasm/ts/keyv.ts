/**
 * Keyv: a cache as the storage adapter of a Keyv, so that what speaks Keyv can use it.
 *
 * Keyv's values are texts that it has written itself, and are kept as they are. What it stores without a time to live stays for ever.
 * Several Keyvs may share one cache: each clears and goes through its own namespace only, and one without a namespace all of them.
 */
import { Cache } from "./cache.js";
import { ConfigError } from "./errors.js";
import { escapePattern, nameOf } from "./keys.js";
import { FOREVER } from "./terms.js";

/** What Keyv looks at before it offers an iterator. */
interface Opts {
  readonly dialect: string;
  readonly url: string;
}

/**
 * A storage adapter over a cache.
 *
 * @example
 * ```ts
 * const keyv = new Keyv({ store: new DonjonKeyv(createCache({ namespace: "app" })), namespace: "users" });
 * ```
 */
export class DonjonKeyv {
  /** Set by Keyv. */
  namespace: string | undefined;
  // Keyv iterates where it knows the dialect to be able to; of Redis it knows.
  readonly opts: Opts = { dialect: "redis", url: "" };
  readonly #cache: Cache;

  /** @throws {@link ConfigError} where it is no cache. */
  constructor(cache: Cache) {
    if (!(cache instanceof Cache)) throw new ConfigError(`a DonjonKeyv takes a cache, made by \`createCache\`, not ${nameOf(cache)}`);
    this.#cache = cache;
  }

  get<T>(key: string): Promise<T | undefined> {
    return this.#cache.get<T>(key);
  }

  async getMany<T>(keys: readonly string[]): Promise<(T | undefined)[]> {
    const found = await this.#cache.getMany<T>(keys);
    return keys.map((key) => found.get(key));
  }

  /** `ttl` in milliseconds. */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    await this.#cache.set(key, value, { ttl: ttl ?? FOREVER });
    return true;
  }

  async setMany(entries: readonly { readonly key: string; readonly value: unknown; readonly ttl?: number }[]): Promise<boolean[]> {
    return Promise.all(entries.map(({ key, value, ttl }) => this.set(key, value, ttl)));
  }

  delete(key: string): Promise<boolean> {
    return this.#cache.delete(key);
  }

  async deleteMany(keys: readonly string[]): Promise<boolean> {
    return (await this.#cache.deleteMany(keys)).count > 0;
  }

  has(key: string): Promise<boolean> {
    return this.#cache.exists(key);
  }

  async hasMany(keys: readonly string[]): Promise<boolean[]> {
    return Promise.all(keys.map((key) => this.has(key)));
  }

  /** Removes what is in this namespace; without one, everything. */
  async clear(): Promise<void> {
    if (this.namespace === undefined) await this.#cache.clear();
    else await this.#cache.invalidatePattern(within(this.namespace));
  }

  /** The keys and values of a namespace: a walk through all keys. */
  async *iterator(namespace?: string): AsyncGenerator<[string, unknown], void> {
    for await (const key of this.#cache.keys(namespace === undefined ? "*" : within(namespace))) {
      const value = await this.#cache.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Closes the cache. */
  disconnect(): Promise<void> {
    return this.#cache.close();
  }
}

/** What Keyv calls the keys of a namespace. */
function within(namespace: string): string {
  return `${escapePattern(namespace)}:*`;
}
