/**
 * Upstash's Redis as the store of a cache, by its REST API: no client library, only `fetch`, so that it runs at the edge.
 *
 * The same keys and bytes as over a client: one Redis may be shared by Python, Rust, Node and workers at the edge.
 */
import type { Store, TierTerms } from "./cache.js";
import { ConfigError } from "./errors.js";
import type { NearMemory } from "./near.js";
import { MOST, checkNames, checkNear, checkNumbers } from "./options.js";
import type { Near } from "./redis/near.js";
import { RestApi } from "./redis/rest.js";
import { RedisTier } from "./redis/tier.js";

/** Where the database is, and how to ask it. */
export interface UpstashOptions {
  /** The database's REST URL. */
  readonly url: string;
  /** Its token, which must be allowed to write. It appears in no message. */
  readonly token: string;
  /** Milliseconds until a request has to be answered, the making of a connection included. Default: 1,000. */
  readonly commandTimeout?: number | undefined;
  /**
   * A larger value is not stored, and what is under its key is invalidated. Default: 3 MiB, of which a request of 10 MB, Upstash's
   * limit, holds any value.
   */
  readonly maxValueBytes?: number | undefined;
  /**
   * Where values are read. `primary`, the default, never serves what was invalidated. `nearest` asks the nearest replica, which may
   * lag behind what other processes have invalidated; it suits a database without replicas as well.
   */
  readonly reads?: "primary" | "nearest" | undefined;
  /**
   * Memory in front, of all caches over this store: `memory({ ttl: "2s" })` of `donjon/near`. Nobody tells it what others change, so it is
   * late by as long as that says. Default: none.
   */
  readonly near?: NearMemory | undefined;
}

/**
 * A store over Upstash's REST API. Make it once, and with it as many caches as you like: in a worker, one for each request.
 *
 * Channels need a connection that stays open: `subscribe` throws an `UnsupportedOperationError`, and locks are waited for by
 * asking again.
 *
 * @example
 * ```ts
 * const store = upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN });
 * const cache = createCache({ namespace: "app", store, waitUntil: (work) => context.waitUntil(work) });
 * ```
 *
 * @throws {@link ConfigError} where an option is none.
 */
export function upstash(options: UpstashOptions): Store {
  checkNames(options, ["url", "token", "commandTimeout", "maxValueBytes", "reads", "near"]);
  const { url, token, commandTimeout = 1_000, maxValueBytes = 3 * 2 ** 20, reads = "primary", near } = options;
  checkNumbers({ commandTimeout, maxValueBytes }, { commandTimeout: MOST, maxValueBytes: MOST });
  if (reads !== "primary" && reads !== "nearest") throw new ConfigError('`reads` is "primary" or "nearest"');
  if (typeof token !== "string" || !/^[!-~]+$/.test(token))
    throw new ConfigError("`token` is the database's REST token, without spaces or line ends");
  checkNear(near);
  const api = new RestApi({ url: addressOf(url), token, timeout: commandTimeout, readsNearest: reads === "nearest" });
  const limits = { commandTimeout, connectTimeout: commandTimeout, maxValueBytes };
  const memories = new Map<string, Near>();
  return { open: (terms: TierTerms) => new RedisTier(api, terms, limits, near?.of(memories, terms)) };
}

/** A URL to which paths can be added. What is wrong with it is told without it: it may hold a password. */
function addressOf(url: unknown): string {
  let parsed: URL;
  try {
    parsed = new URL(url as string);
  } catch {
    throw new ConfigError("`url` is no URL: it is the database's REST URL, which begins with https://");
  }
  const { protocol, username, password, search, hash, href } = parsed;
  if (protocol !== "https:" && protocol !== "http:")
    throw new ConfigError("`url` is the database's REST URL, which begins with https://, not the one for clients of Redis");
  if (username !== "" || password !== "" || search !== "" || hash !== "")
    throw new ConfigError("`url` is an address alone; the token has an option of its own");
  return href.replace(/\/+$/, "");
}
