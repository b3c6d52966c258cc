/**
 * Cloudflare KV as the store of a cache.
 *
 * KV shows a write to others up to a minute later, or more, and takes no conditions. So, of what a cache over Redis promises:
 *
 * - Within one isolate, and all its caches of one namespace over one binding, everything holds as in memory: one load for all who ask,
 *   what was invalidated is not served from the moment that the invalidation has returned, and what was loaded before it is not stored
 *   after it.
 * - What an isolate has changed it reads from KV again after a minute and a half: until then it knows better.
 * - Elsewhere an invalidation shows when KV shows it, each isolate loads for itself, and of two that store at the same time either may
 *   win, even one that loaded before the other invalidated. Give values a time to live that you can live with.
 * - `lock`, `incr`, `add`, `touch`, tags and messages need what KV has not: they throw {@link UnsupportedOperationError}.
 * - A key is at most 512 bytes with its namespace.
 * - KV keeps nothing for less than a minute. A shorter time to live is kept to nonetheless: what is over is not served.
 * - A pattern lists the keys that begin as it does, a thousand at a time, and removes each one; `clear`, or one that begins with a
 *   star, lists the whole namespace. KV takes one write a second for a key, and counts all of these against a request's limit: what it
 *   refuses waits, and reads miss until it is through.
 */
import type { Store } from "./cache.js";
import type { Capabilities } from "./capabilities.js";
import { ConfigError } from "./errors.js";
import { nameOf } from "./keys.js";
import type { NearMemory } from "./near.js";
import { MOST, checkNames, checkNear, checkNumbers } from "./options.js";
import { LateTable } from "./plain/late.js";
import { PlainTier } from "./plain/tier.js";
import type { Near } from "./redis/near.js";

/** What is used of a binding to a KV namespace. */
export interface KvNamespace {
  get(key: string, type: "arrayBuffer"): Promise<ArrayBuffer | null>;
  put(key: string, value: Uint8Array, options?: { expirationTtl?: number }): Promise<void>;
  delete(key: string): Promise<void>;
  list(options: { prefix: string; cursor?: string }): Promise<{
    readonly keys: readonly { readonly name: string }[];
    readonly list_complete: boolean;
    readonly cursor?: string;
  }>;
}

/** How a cache treats KV. */
export interface KvOptions {
  /** Milliseconds that an operation may take. Default: 5,000. */
  readonly commandTimeout?: number | undefined;
  /** A larger value is not stored, and what is under its key is invalidated. Default, and most: 25 MiB, less what the cache adds. */
  readonly maxValueBytes?: number | undefined;
  /**
   * Memory in front, of all caches over this binding: `memory({ ttl: "10s" })` of `donjon/near`. What KV shows to be changed it may not
   * show for so long. Default: none.
   */
  readonly near?: NearMemory | undefined;
}

const KV_CAPABILITIES: Capabilities = { reach: "process", locks: false, conditions: false, tags: false, messages: false };

/** KV says a minute, or more. */
const SETTLES = 90_000;

/** KV keeps nothing for less, in seconds. */
const LEAST_TTL = 60;

/** What caches over one binding have in common, by their namespaces: a request may have a cache of its own. */
interface Shared {
  /** What this isolate knows of what it has changed. */
  readonly tables: Map<string, LateTable>;
  readonly memories: Map<string, Near>;
}

const SHARED = new WeakMap<KvNamespace, Shared>();

const MOST_NAME_BYTES = 512;
const MOST_VALUE_BYTES = 25 * 2 ** 20 - 1_024;

/**
 * A store over a KV namespace: the binding, as the runtime hands it in.
 *
 * @throws {@link ConfigError} where it is none.
 * @example
 * ```ts
 * export default {
 *   async fetch(request, env, context) {
 *     const cache = createCache({ namespace: "app", store: kv(env.CACHE), waitUntil: (work) => context.waitUntil(work) });
 *     return Response.json(await cache.getOrSet("stats", loadStats, { ttl: "10m" }));
 *   },
 * };
 * ```
 */
export function kv(namespace: KvNamespace, options: KvOptions = {}): Store {
  const isOne = typeof namespace === "object" && namespace !== null;
  if (!isOne || !["get", "put", "delete", "list"].every((name) => typeof namespace[name as keyof KvNamespace] === "function")) {
    throw new ConfigError(`\`kv\` takes a binding to a KV namespace, not ${nameOf(namespace)}`);
  }
  if (typeof options !== "object" || options === null) throw new ConfigError("the options of `kv` are an object");
  checkNames(options, ["commandTimeout", "maxValueBytes", "near"]);
  const { near, ...limits } = options;
  checkNumbers(limits, { commandTimeout: MOST, maxValueBytes: MOST_VALUE_BYTES });
  checkNear(near);
  const { commandTimeout = 5_000, maxValueBytes = MOST_VALUE_BYTES } = limits;
  const store = {
    settles: SETTLES,
    async get(name: string) {
      const found = await namespace.get(name, "arrayBuffer");
      return found === null ? undefined : new Uint8Array(found);
    },
    async put(name: string, bytes: Uint8Array, until: number) {
      const seconds = Math.ceil((until - Date.now()) / 1_000);
      await namespace.put(name, bytes, seconds === Infinity ? {} : { expirationTtl: Math.max(LEAST_TTL, seconds) });
    },
    delete: (name: string) => namespace.delete(name),
    async list(prefix: string) {
      const names: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await namespace.list(cursor === undefined ? { prefix } : { prefix, cursor });
        for (const { name } of page.keys) names.push(name);
        cursor = page.list_complete ? undefined : page.cursor;
      } while (cursor !== undefined);
      return names;
    },
  };
  const { tables, memories } = sharedOf(namespace);
  const tableOf = (name: string): LateTable => {
    // Caches without memory in front tell what they change as well.
    const table = tables.get(name) ?? new LateTable(store, () => memories.get(name));
    tables.set(name, table);
    return table;
  };
  const waits = { commandTimeout, connectTimeout: commandTimeout, maxValueBytes, maxNameBytes: MOST_NAME_BYTES };
  return {
    open: (terms) => new PlainTier("kv", tableOf(terms.namespace), KV_CAPABILITIES, terms, waits, near?.of(memories, terms)),
  };
}

function sharedOf(namespace: KvNamespace): Shared {
  const shared = SHARED.get(namespace) ?? { tables: new Map(), memories: new Map() };
  SHARED.set(namespace, shared);
  return shared;
}
