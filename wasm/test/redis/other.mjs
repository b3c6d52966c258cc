// The other process of the tests: a cache under the same namespace, told over the channel to its parent what to do.

import { createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { CLIENTS, PATIENT, gate } from "./kit.mjs";

const [url, settings] = process.argv.slice(2);
const { client, ...options } = JSON.parse(settings);
const cache = createCache({ early: 0, log: () => undefined, store: redis(CLIENTS[client ?? "node-redis 6"](url), PATIENT), ...options });
const gates = new Map();
const loads = new Map();
const locks = new Map();

const KNOWN = {
  ready: () => cache.ping(),
  // A load that waits to be let go: resolves when it runs.
  async load(key, value, options) {
    const loader = gate(value);
    gates.set(key, loader);
    const loaded = cache.getOrSet(key, loader, options);
    loads.set(key, loaded);
    loaded.catch(() => undefined);
    await loader.begun;
  },
  async finish(key) {
    gates.get(key).release();
    return loads.get(key);
  },
  // Many at once, by loaders that take some turns; how many loads it took.
  async herd(key, callers, value) {
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
  async lock(name, options) {
    const lock = await cache.lock(name, options);
    locks.set(name, lock);
    return lock.fence;
  },
  release: (name) => locks.get(name).release(),
  async call(name, ...about) {
    const given = await cache[name](...about);
    return given instanceof Map ? [...given] : given;
  },
};

process.on("message", async ({ number, what, about }) => {
  try {
    process.send({ number, answer: await KNOWN[what](...about) });
  } catch (error) {
    process.send({ number, error: error?.message ?? String(error) });
  }
});
process.on("disconnect", () => process.exit());
