/**
 * Redis or Valkey as the store of a cache, by the client that a program uses already: node-redis 5 and 6, or ioredis 5.
 *
 * What is given is only asked how to connect: the cache has connections of its own.
 */
import type { Store, TierTerms } from "./cache.js";
import { ConfigError } from "./errors.js";
import { MOST, checkNames, checkNumbers } from "./options.js";
import type { Library } from "./redis/connection.js";
import { Ioredis, type IoredisClient, isIoredis } from "./redis/ioredis.js";
import type { Limits } from "./redis/limits.js";
import { NodeRedis, type NodeRedisClient, isNodeRedis } from "./redis/node-redis.js";
import { Near, type NearTerms } from "./redis/near.js";
import { RedisTier } from "./redis/tier.js";
import { Tracker } from "./redis/tracker.js";
import type { InFront } from "./redis/via.js";

/** How a store over Redis waits, what it takes, and whether there is memory in front of it. */
export interface RedisOptions extends Limits {
  /**
   * Puts memory in front: what was read is answered from there, as quickly as by a cache in memory, until Redis says that it changed. It
   * takes a connection more, which Redis tells of changes; with ioredis two, as it hands out no pushes. Default: false.
   */
  readonly near?: boolean | NearOptions | undefined;
}

/** How memory in front of Redis is bounded, and told of changes. */
export interface NearOptions {
  /** Bound of keys, values and bookkeeping in memory. Default: 256 MiB. */
  readonly maxBytes?: number | undefined;
  /** Bound of the number of values in memory. Default: as many as the bytes allow. */
  readonly maxEntries?: number | undefined;
  /**
   * Milliseconds for which memory answers while there is no connection, with values that count as stale and that others may have
   * invalidated meanwhile. Default: not at all.
   */
  readonly maxStale?: number | undefined;
  /**
   * Whether Redis tells every change in the namespace, instead of remembering what this process has read: for many processes that read
   * the same few keys, which change seldom. Default: false.
   */
  readonly broadcast?: boolean | undefined;
}

/**
 * A store over a client, which need not be connected.
 *
 * @example
 * ```ts
 * const cache = createCache({ namespace: "app", store: redis(createClient({ url: "redis://localhost:6379/0" }), { near: true }) });
 * ```
 *
 * @throws {@link ConfigError} where it is no such client, or an option is none.
 */
export function redis(client: NodeRedisClient | IoredisClient, options: RedisOptions = {}): Store {
  if (typeof options !== "object" || options === null) throw new ConfigError("the options of `redis` are an object");
  checkNames(options, [...LIMITS, "near"]);
  const { near, ...limits } = options;
  checkNumbers(limits, Object.fromEntries(LIMITS.map((name) => [name, MOST])));
  const inFront = termsOf(near);
  const library = libraryOf(client);
  return { open: (terms: TierTerms) => new RedisTier(library, terms, limits, inFront && inFrontOf(inFront, terms)) };
}

const LIMITS = ["commandTimeout", "connectTimeout", "maxValueBytes"] as const;

/** How long memory has a value at most before Redis is asked anew, up to a tenth of it cut at random. */
const NEAR_TTL = 60_000;

/** How memory in front is bounded and told. */
interface InFrontTerms extends NearTerms {
  readonly tellsEverything: boolean;
}

function inFrontOf({ tellsEverything, ...bounds }: InFrontTerms, { namespace, log }: TierTerms): InFront {
  const near = new Near(bounds, namespace, log);
  return { memory: near, keeper: (front, library, patience) => new Tracker(front, near, library, patience, tellsEverything) };
}

function termsOf(near: unknown): InFrontTerms | undefined {
  if (near === undefined || near === false) return undefined;
  if (near !== true && (typeof near !== "object" || near === null || Array.isArray(near))) {
    throw new ConfigError("`near` is true or false, or an object such as { maxBytes: 64 * 2 ** 20 }");
  }
  const options: NearOptions = near === true ? {} : near;
  checkNames(options, ["maxBytes", "maxEntries", "maxStale", "broadcast"]);
  const { broadcast = false, maxBytes = 256 * 2 ** 20, maxEntries, maxStale } = options;
  checkNumbers({ maxBytes, maxEntries, maxStale }, { maxBytes: 2 ** 32, maxEntries: MOST, maxStale: MOST });
  if (typeof broadcast !== "boolean") throw new ConfigError("`broadcast` is true or false");
  return { maxBytes, maxEntries, ttl: NEAR_TTL, maxStale: maxStale ?? 0, tellsEverything: broadcast };
}

function libraryOf(client: unknown): Library {
  if (typeof client === "object" && client !== null) {
    if (isIoredis(client)) return new Ioredis(client);
    if (isNodeRedis(client)) return new NodeRedis(client);
  }
  throw new ConfigError("`redis` takes a client of one server, of node-redis (`createClient`) or of ioredis (`new Redis`)");
}
