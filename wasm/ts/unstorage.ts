/**
 * unstorage: a cache as the driver of a storage.
 *
 * Items are kept as what unstorage makes of them: texts, and bytes where they are stored raw. What is stored without a time to live
 * stays for ever.
 */
import { Cache } from "./cache.js";
import { ConfigError } from "./errors.js";
import { escapePattern, nameOf } from "./keys.js";
import { MOST, checkNumbers } from "./options.js";
import { FOREVER } from "./terms.js";

/** How the driver stores. */
export interface DonjonDriverOptions {
  /** Seconds, as all of unstorage has it, where a call names none. Default: for ever. */
  readonly ttl?: number | undefined;
}

/** What one call of unstorage may say. */
interface Transaction {
  /** Seconds. */
  readonly ttl?: number | undefined;
}

/** What unstorage asks of a driver. */
export interface DonjonDriver {
  readonly name: string;
  readonly options: DonjonDriverOptions;
  getInstance(): Cache;
  hasItem(key: string): Promise<boolean>;
  getItem(key: string): Promise<string | null>;
  getItemRaw(key: string): Promise<unknown>;
  getItems(items: readonly { readonly key: string }[]): Promise<{ key: string; value: string | null }[]>;
  setItem(key: string, value: string, transaction?: Transaction): Promise<void>;
  setItemRaw(key: string, value: unknown, transaction?: Transaction): Promise<void>;
  removeItem(key: string): Promise<void>;
  getKeys(base: string): Promise<string[]>;
  clear(base: string): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * A driver over a cache.
 *
 * `getKeys` goes through all keys of the cache. `clear` removes all of it; the driver's own `clear` of a base, what is under that.
 *
 * @throws {@link ConfigError} where it is no cache.
 * @example
 * ```ts
 * const storage = createStorage({ driver: donjonDriver(createCache({ namespace: "app" })) });
 * ```
 */
export function donjonDriver(cache: Cache, options: DonjonDriverOptions = {}): DonjonDriver {
  if (!(cache instanceof Cache)) throw new ConfigError(`\`donjonDriver\` takes a cache, made by \`createCache\`, not ${nameOf(cache)}`);
  checkNumbers(options, { ttl: MOST });
  const { ttl: usual } = options;
  const set = (key: string, value: unknown, { ttl = usual }: Transaction = {}): Promise<void> => {
    return cache.set(key, value, { ttl: ttl === undefined ? FOREVER : ttl * 1_000 });
  };
  const get = async (key: string): Promise<unknown> => (await cache.get(key)) ?? null;
  return {
    name: "donjon",
    options,
    getInstance: () => cache,
    hasItem: (key) => cache.exists(key),
    getItem: get as DonjonDriver["getItem"],
    getItemRaw: get,
    async getItems(items) {
      const found = await cache.getMany<string>(items.map(({ key }) => key));
      return items.map(({ key }) => ({ key, value: found.get(key) ?? null }));
    },
    setItem: set,
    setItemRaw: set,
    async removeItem(key) {
      await cache.delete(key);
    },
    async getKeys(base) {
      const keys = new Set<string>();
      for await (const key of cache.keys(under(base))) keys.add(key);
      return [...keys];
    },
    async clear(base) {
      await cache.invalidatePattern(under(base));
    },
    dispose: () => cache.close(),
  };
}

/** The keys under a base, which ends with a colon unless it is empty. */
function under(base: string | undefined): string {
  if (base === undefined || base === "") return "*";
  return `${escapePattern(base.endsWith(":") ? base : `${base}:`)}*`;
}
