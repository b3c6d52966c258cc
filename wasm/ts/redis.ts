/**
 * Redis or Valkey as the store of a cache, by the client that a program uses already: node-redis 5 and 6, or ioredis 5.
 *
 * What is given is only asked how to connect: the cache has connections of its own.
 */
import type { Store, TierTerms } from "./cache.js";
import { ConfigError } from "./errors.js";
import { MOST, checkNumbers } from "./options.js";
import type { Library } from "./redis/connection.js";
import { Ioredis, type IoredisClient, isIoredis } from "./redis/ioredis.js";
import { NodeRedis, type NodeRedisClient, isNodeRedis } from "./redis/node-redis.js";
import { type RedisOptions, RedisTier } from "./redis/tier.js";

export type { RedisOptions } from "./redis/tier.js";

/**
 * A store over a client, which need not be connected.
 *
 * @example
 * ```ts
 * const cache = createCache({ namespace: "app", store: redis(createClient({ url: "redis://localhost:6379/0" })) });
 * ```
 */
export function redis(client: NodeRedisClient | IoredisClient, options: RedisOptions = {}): Store {
  checkNumbers(options, { commandTimeout: MOST, connectTimeout: MOST, maxValueBytes: MOST });
  const library = libraryOf(client);
  return { open: (terms: TierTerms) => new RedisTier(library, terms, options) };
}

function libraryOf(client: unknown): Library {
  if (typeof client === "object" && client !== null) {
    if (isIoredis(client)) return new Ioredis(client);
    if (isNodeRedis(client)) return new NodeRedis(client);
  }
  throw new ConfigError("`redis` takes a client of one server, of node-redis (`createClient`) or of ioredis (`new Redis`)");
}
