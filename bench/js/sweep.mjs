// What does it take to invalidate a thousand of many by pattern?
//
// donjon looks at all keys; beside it, a program's own loop over the keys of lru-cache with a regular expression.
// Before each round the thousand are put in anew.

import { LRUCache } from "lru-cache";
import { createCache } from "../../wasm/dist/inline.js";
import { TTL, user } from "./libraries.mjs";

const [count, rounds] = process.argv.slice(2).map(Number);
const keyOf = (n) => `group:${n % (count / 1_000)}:user:${n}`;
const chosen = Array.from({ length: 1_000 }, (_, n) => keyOf(5 + n * (count / 1_000)));
const cache = createCache({ copy: "none", defaultTtl: TTL, maxBytes: 2 ** 31 });
const lru = new LRUCache({ max: count, ttl: TTL });
for (let n = 0; n < count; n++) {
  await cache.set(keyOf(n), user(n));
  lru.set(keyOf(n), user(n));
}

async function timed(sweep) {
  for (const key of chosen) {
    await cache.set(key, user(1));
    lru.set(key, user(1));
  }
  const start = performance.now();
  const removed = await sweep();
  const took = performance.now() - start;
  if (removed !== chosen.length) throw new Error(`${removed} were removed`);
  return took;
}

const sweeps = {
  "donjon, 1,000 by pattern": async () => (await cache.invalidatePattern("group:5:*")).count,
  "lru-cache, its keys and a RegExp": () => {
    let removed = 0;
    for (const key of [...lru.keys()]) if (/^group:5:/.test(key) && lru.delete(key)) removed++;
    return removed;
  },
};
const times = Object.fromEntries(Object.keys(sweeps).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) for (const [name, sweep] of Object.entries(sweeps)) times[name].push(await timed(sweep));
console.log(JSON.stringify(times));
process.exit();
