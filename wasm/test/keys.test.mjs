/** The keys of a cache in memory, and what caches of each kind say of themselves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CacheClosedError, InvalidPatternError, ManualClock, createCache } from "../dist/inline.js";
import { listed } from "./kit.mjs";

test("keys are those of values that may be served and that match", async () => {
  const clock = new ManualClock();
  const cache = createCache({ clock });
  await cache.setMany({ "user:1": 1, "user:2": 2, used: 3 });
  await cache.set("user:3", 3, { ttl: "1s" });
  await cache.set("user:4", 4, { tags: ["t"] });
  const loading = await cache.lookup("user:5");
  assert.deepEqual(await listed(cache, "user:*"), ["user:1", "user:2", "user:3", "user:4"]);
  clock.advance(1_000);
  await cache.invalidateTags("t");
  assert.deepEqual(await listed(cache), ["used", "user:1", "user:2"]);
  loading.abandon();
  cache.enabled = false;
  assert.deepEqual(await listed(cache), []);
});

test("who goes through many keys may change them meanwhile", async () => {
  const cache = createCache();
  await cache.setMany(Object.fromEntries(Array.from({ length: 2_500 }, (_, at) => [`k${at}`, at])));
  let count = 0;
  for await (const key of cache.keys()) {
    if (count++ === 0) assert.equal((await cache.clear()).count, 2_500);
    assert.match(key, /^k\d+$/);
  }
  // Those that were looked at in one go with the first.
  assert.equal(count, 1_000);
});

test("going through the keys counts as no look-up", async () => {
  const cache = createCache();
  await cache.set("k", 1);
  await listed(cache);
  const { hits, misses } = cache.stats();
  assert.deepEqual([hits, misses], [0, 0]);
});

test("what is no pattern of keys is refused", async () => {
  const cache = createCache();
  for (const bad of [null, 1, /k/, "\ud800"]) assert.throws(() => cache.keys(bad), InvalidPatternError);
  await assert.rejects(listed(cache, ""), InvalidPatternError);
  await assert.rejects(listed(cache, "*a".repeat(33)), InvalidPatternError);
  await cache.close();
  assert.throws(() => cache.keys(), CacheClosedError);
});

test("a cache in memory says that its promises reach as far as its process", () => {
  assert.deepEqual(createCache().capabilities, { reach: "process", locks: true, conditions: true, tags: true, messages: true });
});
