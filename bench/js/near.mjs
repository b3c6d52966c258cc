// What does a hit cost that memory in front of Redis answers, beside one of a cache in memory?
//
// Starts a redis-server of its own on the loopback. Both caches are in one process, have the same values, and hand out copies; each round
// times a slice of either, in changing order, so that what slows the machine for a while slows both sides.

import assert from "node:assert/strict";
import { createClient } from "redis";
import { createCache } from "../../wasm/dist/inline.js";
import { redis } from "../../wasm/dist/redis.js";
import { user } from "./libraries.mjs";
import { startServer } from "./redis-server.mjs";

/** Nanoseconds that a slice takes, about. */
const SLICE = 10_000_000;

const CALLS = {
  peek: (cache, keys) => () => {
    for (const key of keys) cache.peek(key);
  },
  get: (cache, keys) => async () => {
    for (const key of keys) await cache.get(key);
  },
  getOrSet: (cache, keys) => async () => {
    for (const key of keys) await cache.getOrSet(key, () => assert.fail("it is there"));
  },
};

/** Until memory has it: what is just being told keeps an answer out. */
async function kept(cache, key) {
  while (cache.peek(key) === undefined) await cache.get(key);
}

async function timed(run, passes, count) {
  const start = process.hrtime.bigint();
  for (let pass = 0; pass < passes; pass++) await run();
  return Number(process.hrtime.bigint() - start) / (passes * count);
}

/** Nanoseconds a call, by call, cache and round. */
async function measure(rounds, count) {
  const { port, end } = await startServer();
  try {
    const client = createClient({ url: `redis://127.0.0.1:${port}` }).on("error", () => undefined);
    const near = createCache({ store: redis(client, { near: true, commandTimeout: 5_000 }), defaultTtl: "1h" });
    const memory = createCache({ defaultTtl: "1h" });
    const keys = Array.from({ length: count }, (_, at) => `user:${(at * 7_919) % count}`);
    for (const key of keys) await memory.set(key, user(Number(key.split(":")[1])));
    const times = {};
    for (const [call, loop] of Object.entries(CALLS)) {
      const caches = { "near Redis": near, "in memory": memory };
      const runs = {};
      times[call] = {};
      for (const [name, cache] of Object.entries(caches)) {
        const run = loop(cache, keys);
        // Memory has a value for a minute at most.
        if (cache === near) await fill(near, keys);
        for (let pass = 0; pass * count < 20_000; pass++) await run();
        runs[name] = { run, passes: Math.max(1, Math.round(SLICE / ((await timed(run, 1, 1)) * count))) };
        times[call][name] = [];
      }
      const names = Object.keys(runs);
      const before = near.stats();
      for (let turn = 0; turn < rounds; turn++) {
        for (let at = 0; at < names.length; at++) {
          const name = names[(turn + at) % names.length];
          times[call][name].push(await timed(runs[name].run, runs[name].passes, count));
        }
      }
      const { hits, memoryHits, coherence } = near.stats();
      assert.equal(hits - before.hits, memoryHits - before.memoryHits, "all of it came out of memory");
      assert.equal(coherence, "tracking");
    }
    return times;
  } finally {
    end();
  }
}

async function fill(near, keys) {
  await near.setMany(Object.fromEntries(keys.map((key) => [key, user(Number(key.split(":")[1]))])));
  for (const key of keys) await kept(near, key);
}

const [rounds, count] = process.argv.slice(2);
console.log(JSON.stringify(await measure(Number(rounds), Number(count))));
process.exit();
