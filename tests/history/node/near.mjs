/**
 * A process with memory in front of Redis, on the side of Node, that does what it is told.
 *
 *     node near.mjs URL NAMESPACE node-redis|ioredis
 *
 * Each line of the input is a call of its cache, `[name, …arguments]`; each line of the output what that gave. `test_near.py` beside it
 * tells it what to do.
 */
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { createCache } from "../../../wasm/dist/inline.js";
import { redis } from "../../../wasm/dist/redis.js";

const require = createRequire(new URL("../../../wasm/package.json", import.meta.url));
const { createClient } = require("redis");
const { Redis } = require("ioredis");

const CLIENTS = {
  "node-redis": (url) => createClient({ url }),
  ioredis: (url) => new Redis(url, { lazyConnect: true }),
};

const [url, namespace, client] = process.argv.slice(2);
const store = redis(CLIENTS[client](url), { near: true, commandTimeout: 10_000, connectTimeout: 10_000 });
const cache = createCache({ namespace, store, early: 0 });

const gates = new Map();

/** What is not a call of the cache. */
const KNOWN = {
  /** A load that waits to be let go. */
  async load(key, value, options) {
    let release;
    const gone = new Promise((resolve) => (release = resolve));
    const loaded = new Promise((resolve) => {
      const asked = cache.getOrSet(
        key,
        async () => {
          resolve(true);
          await gone;
          return value;
        },
        options,
      );
      gates.set(key, { release, asked });
    });
    return loaded;
  },
  async finish(key) {
    const { release, asked } = gates.get(key);
    release();
    return asked;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...about] = JSON.parse(line);
  const given = await (name in KNOWN ? KNOWN[name](...about) : cache[name](...about));
  console.log(JSON.stringify(given ?? null));
}
await cache.close();
