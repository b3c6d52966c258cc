// Who is measured, and with which settings: those that each library's own documentation recommends for a cache of this size, with
// a time to live of five minutes on all.
//
// A call is text, so that each loop that is timed is spelled out as a user would, and no wrapper adds to it.

import { createCache as createDedupe } from "async-cache-dedupe";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { createCache as createManager } from "cache-manager";
import { Cacheable, KeyvCacheableMemory } from "cacheable";
import ExpiryMap from "expiry-map";
import { Keyv } from "keyv";
import { LRUCache } from "lru-cache";
import NodeCache from "node-cache";
import pMemoize from "p-memoize";
import { lru } from "tiny-lru";
import { createCache } from "../../wasm/dist/inline.js";

export const TTL = 300_000;

/** About as large as a row of a table of users: 113 bytes of JSON. */
export function user(n) {
  return { id: n, name: `John Smith ${n}`, email: `john${n}@example.org`, active: true, roles: ["admin", "user"], score: n / 7 };
}

const load = async (key) => user(Number(String(key).split(":")[1]));

/**
 * `peek`, `get`, `set` and `getOrSet` are calls of `cache`, or of what `open` gives instead, with `key` and `value`; left out where
 * there is no such call. `copies` says whether what one caller changes stays unseen by the next one.
 */
export const LIBRARIES = [
  {
    name: "donjon",
    settings: 'copy: "none"',
    copies: false,
    open: (most) => createCache({ copy: "none", defaultTtl: TTL, maxBytes: 2 ** 31, maxEntries: most }),
    peek: "cache.peek(key)",
    get: "await cache.get(key)",
    set: "await cache.set(key, value)",
    getOrSet: "await cache.getOrSet(key, load)",
  },
  {
    name: "donjon, copies",
    settings: "as it comes",
    copies: true,
    open: (most) => createCache({ defaultTtl: TTL, maxBytes: 2 ** 31, maxEntries: most }),
    peek: "cache.peek(key)",
    get: "await cache.get(key)",
    set: "await cache.set(key, value)",
    getOrSet: "await cache.getOrSet(key, load)",
  },
  {
    name: "lru-cache",
    settings: "max, ttl, fetchMethod",
    copies: false,
    open: (most) => new LRUCache({ max: most, ttl: TTL, fetchMethod: load }),
    peek: "cache.get(key)",
    set: "cache.set(key, value)",
    getOrSet: "await cache.fetch(key)",
  },
  {
    name: "tiny-lru",
    settings: "max, ttl",
    copies: false,
    open: (most) => lru(most, TTL),
    peek: "cache.get(key)",
    set: "cache.set(key, value)",
  },
  {
    name: "node-cache",
    settings: "stdTTL, clones as it comes",
    copies: true,
    open: (most) => new NodeCache({ stdTTL: TTL / 1_000, maxKeys: most, checkperiod: 600 }),
    peek: "cache.get(key)",
    set: "cache.set(key, value)",
  },
  {
    name: "cache-manager",
    settings: "KeyvCacheableMemory, as its guide has it",
    copies: true,
    open: (most) => createManager({ stores: [new Keyv({ store: new KeyvCacheableMemory({ ttl: TTL, lruSize: most }) })], ttl: TTL }),
    get: "await cache.get(key)",
    set: "await cache.set(key, value)",
    getOrSet: "await cache.wrap(key, load)",
  },
  {
    name: "keyv",
    settings: "a Map, as it comes",
    copies: true,
    open: () => new Keyv({ ttl: TTL }),
    get: "await cache.get(key)",
    set: "await cache.set(key, value)",
  },
  {
    name: "cacheable",
    settings: "as it comes",
    copies: true,
    open: () => new Cacheable({ ttl: TTL }),
    get: "await cache.get(key)",
    set: "await cache.set(key, value)",
    getOrSet: "await cache.getOrSet(key, load)",
  },
  {
    name: "bentocache",
    settings: "memory driver, as it comes",
    copies: true,
    open: (most) => bento(most, true),
    get: "await cache.get({ key })",
    set: "await cache.set({ key, value })",
    getOrSet: "await cache.getOrSet({ key, factory: load })",
  },
  {
    name: "bentocache, by reference",
    settings: "memory driver, serialize: false",
    copies: false,
    open: (most) => bento(most, false),
    get: "await cache.get({ key })",
    set: "await cache.set({ key, value })",
    getOrSet: "await cache.getOrSet({ key, factory: load })",
  },
  {
    name: "p-memoize",
    settings: "expiry-map, as its guide has it",
    copies: false,
    open: () => pMemoize(load, { cache: new ExpiryMap(TTL) }),
    getOrSet: "await cache(key)",
  },
  {
    name: "async-cache-dedupe",
    settings: "memory storage, ttl",
    copies: false,
    open: (most) => createDedupe({ ttl: TTL / 1_000, storage: { type: "memory", options: { size: most } } }).define("load", load),
    getOrSet: "await cache.load(key)",
  },
];

function bento(most, serialize) {
  return new BentoCache({
    default: "memory",
    ttl: TTL,
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: most, serialize })) },
  });
}

/** A function that makes one call for each of the keys. `calls` is what a library has of one kind. */
export function loop(call, cache, keys, values) {
  const source = `return async () => {
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at], value = values[at];
      ${call};
    }
  }`;
  return new Function("cache", "keys", "values", "load", source)(cache, keys, values, load);
}

/** What one call gives. */
export function once(call, cache, key, value) {
  return new Function("cache", "key", "value", "load", `return (async () => ${call})()`)(cache, key, value, load);
}
