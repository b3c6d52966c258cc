// The other process of the tests: a cache under the same namespace, told over the channel to its parent what to do.

import { createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { CLIENTS, PATIENT, gate } from "./kit.mjs";

const url = process.argv[2];
const caches = new Map();
const [gates, loads, locks] = [new Map(), new Map(), new Map()];

/** The cache of these settings. */
function cacheOf(settings) {
  const name = JSON.stringify(settings);
  if (!caches.has(name)) {
    const { client, ...options } = settings;
    caches.set(name, createCache({ early: 0, log: () => undefined, store: redis(CLIENTS[client](url), PATIENT), ...options }));
  }
  return caches.get(name);
}

const KNOWN = {
  ready: (cache) => cache.ping(),
  // A load that waits to be let go: resolves when it runs.
  async load(cache, key, value, options) {
    const loader = gate(value);
    gates.set(key, loader);
    const loaded = cache.getOrSet(key, loader, options);
    loads.set(key, loaded);
    loaded.catch(() => undefined);
    await loader.begun;
  },
  async finish(_cache, key) {
    gates.get(key).release();
    return loads.get(key);
  },
  // Many at once, by loaders that take some turns; how many loads it took.
  async herd(cache, key, callers, value) {
    let calls = 0;
    const all = await Promise.all(
      Array.from({ length: callers }, () =>
        cache.getOrSet(key, async () => {
          calls++;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return value;
        }),
      ),
    );
    return { calls, values: [...new Set(all)] };
  },
  async lock(cache, name, options) {
    const lock = await cache.lock(name, options);
    locks.set(name, lock);
    return lock.fence;
  },
  release: (_cache, name) => locks.get(name).release(),
  async call(cache, name, ...about) {
    const given = await cache[name](...about);
    return given instanceof Map ? [...given] : given;
  },
};

process.on("message", async ({ number, settings, what, about }) => {
  try {
    process.send({ number, answer: await KNOWN[what](cacheOf(settings), ...about) });
  } catch (error) {
    process.send({ number, error: error?.message ?? String(error) });
  }
});
process.on("disconnect", () => process.exit());
