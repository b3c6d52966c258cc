// Memory in front of Upstash, which tells nobody of changes: what bounds it is its time, and what its own process does.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { ConfigError, FOREVER, InvalidTtlError, createCache } from "../../dist/inline.js";
import { memory } from "../../dist/near.js";
import { upstash } from "../../dist/upstash.js";
import { gate } from "../kit.mjs";
import { RedisServer, until } from "../redis/server.mjs";
import { RestServer, TOKEN } from "../upstash/rest-server.mjs";

let server;
let rest;
let open;

before(async () => {
  server = await RedisServer.start();
});
after(() => server.close());
beforeEach(async () => {
  await server.ask("FLUSHALL");
  rest = await RestServer.start(server);
  open = [];
});
afterEach(async () => {
  rest.meddle = () => undefined;
  for (const cache of open) await cache.close();
  await rest.end();
});

const storeWith = (near) => upstash({ url: rest.url, token: TOKEN, commandTimeout: 10_000, near });
const storeNear = (options) => storeWith(memory({ ttl: "2s", ...options }));

function cacheOver(store, options) {
  const cache = createCache({ namespace: "app", store, early: 0, log: () => undefined, ...options });
  open.push(cache);
  return cache;
}

/** A cache with memory in front, another over the same store, and one of another process. */
function three(options) {
  const store = storeNear(options);
  return { near: cacheOver(store), beside: cacheOver(store), other: cacheOver(storeWith(undefined)) };
}

/** Moves all clocks of this process, but not the server's. */
function clock(t) {
  let ahead = 0;
  for (const [of, name] of [
    [performance, "now"],
    [Date, "now"],
  ]) {
    const now = of[name].bind(of);
    t.mock.method(of, name, () => now() + ahead);
  }
  return (ms) => void (ahead += ms);
}

const asked = () => rest.requests.splice(0).length;
const never = () => assert.fail("it is there");

test("hits are copies out of memory, by every way to read, and no request", async () => {
  const { near, other } = three();
  await other.setMany({ k: { list: [1, 2] }, null: null });
  await near.get("k");
  assert.deepEqual(await near.getMany(["null"]), new Map([["null", null]]));
  assert.equal(await near.getOrSet("loaded", () => "here", { tags: ["t"] }), "here");
  asked();
  (await near.get("k")).list.push(3);
  assert.deepEqual(near.peek("k"), { list: [1, 2] });
  assert.deepEqual(await near.getOrSet("k", never), { list: [1, 2] });
  assert.equal((await near.lookup("null")).value, null);
  assert.deepEqual(await near.getMany(["k", "null"]), new Map(Object.entries({ k: { list: [1, 2] }, null: null })));
  assert.equal(await near.getOrSet("loaded", never), "here");
  assert.equal(asked(), 0);
  const { memoryHits, entries, coherence, lastPush } = near.stats();
  assert.deepEqual({ memoryHits, entries, coherence, lastPush }, { memoryHits: 7, entries: 3, coherence: "ttl", lastPush: undefined });
  const { tier, coherence: believed, freshFor } = await near.explain("k");
  assert.deepEqual({ tier, believed }, { tier: "memory", believed: "ttl" });
  assert.ok(freshFor > 0 && freshFor <= 2_000, String(freshFor));
});

test("without memory every read is a request", async () => {
  const { other } = three();
  await other.set("k", 1);
  await other.get("k");
  asked();
  await other.get("k");
  assert.equal(asked(), 1);
  assert.equal(other.peek("k"), undefined);
  assert.equal(other.stats().coherence, undefined);
});

test("what others invalidate is served for the stated time at most, from when it was asked for, and by no strong read", async (t) => {
  const advance = clock(t);
  const { near, other } = three();
  await other.setMany({ k: "old", strong: "old" });
  rest.meddle = ({ commands }) => (commands.some((command) => command.includes("MGET")) ? advance(1_500) : undefined);
  assert.equal(await near.get("k"), "old");
  rest.meddle = () => undefined;
  await near.get("strong");
  await other.deleteMany(["k", "strong"]);
  assert.equal(await near.get("k"), "old", "nobody tells");
  assert.equal(await near.get("strong", { mode: "strong" }), undefined);
  advance(500);
  assert.equal(near.peek("k"), undefined);
  assert.equal(await near.getOrSet("k", () => "new"), "new");
});

for (const [what, read] of Object.entries({
  get: (cache) => cache.get("k", { mode: "strong" }),
  getMany: (cache) => cache.getMany(["k"], { mode: "strong" }),
  getOrSet: (cache) => cache.getOrSet("k", () => Promise.reject(new Error("no")), { mode: "strong" }).catch(() => undefined),
  lookup: async (cache) => (await cache.lookup("k", { mode: "strong" })).abandon?.(),
})) {
  test(`what a strong ${what} has found is what memory has, also where there is nothing`, async () => {
    const { near, other } = three();
    await other.set("k", "old", { tags: ["t"] });
    await near.get("k");
    await other.set("k", "new", { tags: ["t"] });
    assert.equal(near.peek("k"), "old", "nobody tells");
    await read(near);
    assert.equal(near.peek("k"), "new");
    for (const invalidate of [() => other.invalidateTags("t"), () => other.delete("k")]) {
      await other.set("k", "newer", { tags: ["t"] });
      await read(near);
      assert.equal(near.peek("k"), "newer");
      await invalidate();
      await read(near);
      assert.equal(near.peek("k"), undefined);
    }
  });
}

test("memory never has a value for longer than the store", async (t) => {
  const advance = clock(t);
  const { near, other } = three({ ttl: 60_000 });
  await other.set("k", 1, { ttl: "1s", grace: "1m" });
  assert.equal(await near.get("k"), 1);
  assert.equal(near.peek("k"), 1);
  advance(1_000);
  assert.equal(near.peek("k"), undefined);
  assert.equal(await near.get("k"), 1, "the store may serve it stale");
  assert.equal(near.peek("k"), undefined, "which memory does not");
});

for (const [what, change] of Object.entries({
  delete: (cache) => cache.delete("k"),
  deleteMany: (cache) => cache.deleteMany(["k"]),
  set: (cache) => cache.set("k", "new"),
  setMany: (cache) => cache.setMany({ k: "new" }),
  touch: (cache) => cache.touch("k", "1h"),
  invalidatePattern: (cache) => cache.invalidatePattern("k*"),
  invalidateTags: (cache) => cache.invalidateTags("t"),
  clear: (cache) => cache.clear(),
  emit: (cache) => cache.rules.on("changed", { keys: ["k"] }) && cache.emit("changed"),
})) {
  test(`what a cache over the same store has changed by ${what} is in memory no more`, async () => {
    for (const which of ["near", "beside"]) {
      const caches = three();
      const { near, beside, other } = caches;
      const one = caches[which];
      await other.set("k", "old", { tags: ["t"] });
      await near.get("k");
      assert.equal(near.peek("k"), "old");
      assert.equal(beside.peek("k"), "old");
      await change(one);
      assert.equal(near.peek("k"), undefined);
      if (what !== "touch") assert.notEqual(await near.get("k"), "old");
    }
  });

  if (what === "touch") continue;
  test(`what was on its way when a cache over the same store changed it by ${what} does not enter memory`, async (t) => {
    const { near, beside, other } = three();
    await other.set("k", "old", { tags: ["t"] });
    await near.ping();
    const [ask, held] = [globalThis.fetch, gate()];
    const answered = gate();
    t.mock.method(globalThis, "fetch", async (...given) => {
      const isRead = !answered.isOpen && String(given[1].body).includes('"MGET"');
      const response = await ask(...given);
      if (isRead) {
        answered.isOpen = true;
        answered.open();
        await held.opened;
      }
      return response;
    });
    const reading = near.get("k");
    await answered.opened;
    await change(beside);
    held.open();
    await reading;
    assert.equal(near.peek("k"), undefined);
  });
}

test("what was not stored, as it was invalidated while it was loaded, does not enter memory", async () => {
  const { near, other } = three();
  for (const invalidate of [() => other.delete("k"), () => other.invalidateTags("t"), () => near.delete("k")]) {
    const loader = async () => {
      await invalidate();
      return "old";
    };
    assert.equal(await near.getOrSet("k", loader, { tags: ["t"] }), "old");
    assert.equal(near.peek("k"), undefined);
  }
});

test("a cache that is made for each request finds what those before it have read, and counts its own", async () => {
  const store = storeNear();
  const { other } = three();
  await other.set("k", 1);
  for (let request = 0; request < 3; request++) {
    asked();
    const cache = cacheOver(store);
    assert.equal(await cache.get("k"), 1);
    assert.equal(asked() > 0, request === 0);
    assert.equal(await cache.get("k"), 1);
    const { hits, memoryHits, hitRate } = cache.stats();
    assert.deepEqual([hits, memoryHits, hitRate], [2, request === 0 ? 1 : 2, 1]);
    cache.resetStats();
    assert.equal(cache.stats().memoryHits, 0);
  }
  assert.equal(cacheOver(store, { namespace: "elsewhere" }).peek("k"), undefined);
  assert.equal(cacheOver(storeNear()).peek("k"), undefined, "another store may be another database");
});

test("what one cache owes the store it is not served from memory, whatever another reads meanwhile", async () => {
  const { near, beside, other } = three();
  await other.set("k", "old");
  await near.get("k");
  // A failing server is left alone for a while by who met it: the other has not met it.
  await beside.ping();
  const refusing = gate();
  rest.meddle = async ({ commands }) => {
    const isInvalidation = commands.some((command) => command.includes("UNLINK"));
    if (isInvalidation) await refusing.opened;
    return isInvalidation ? [400, { error: "ERR not now" }] : undefined;
  };
  refusing.open();
  assert.equal((await near.deleteMany(["k"])).queued, true);
  assert.equal(near.peek("k"), undefined);
  assert.equal(await beside.get("k"), "old", "the store has it still");
  assert.equal(beside.peek("k"), "old");
  assert.equal(near.peek("k"), undefined);
  assert.equal(near.stats().coherence, "suspect");
  rest.meddle = () => undefined;
  await until("it is said", async () => (await near.get("other")) === undefined && near.stats().queued === 0);
  assert.equal(near.stats().coherence, "ttl");
  assert.equal(near.peek("k"), undefined);
  assert.equal(beside.peek("k"), undefined);
});

test("a cache that is switched off is served nothing from memory, and the others are", async () => {
  const { near, beside, other } = three();
  await other.set("k", 1);
  await near.get("k");
  near.enabled = false;
  assert.equal(near.peek("k"), undefined);
  assert.equal(await near.get("k"), undefined);
  assert.equal(beside.peek("k"), 1);
  await near.delete("k");
  assert.equal(beside.peek("k"), undefined);
  near.enabled = true;
  assert.equal(await near.get("k"), undefined);
});

test("memory keeps to its bounds, what is over leaves as others come, and counters stay where they are", async (t) => {
  const advance = clock(t);
  const { near: small, other } = three({ maxEntries: 10 });
  const near = cacheOver(storeNear());
  await other.setMany(Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`k${at}`, at])));
  for (const cache of [small, near]) await cache.getMany(Array.from({ length: 30 }, (_, at) => `k${at}`));
  const { entries, evictions } = small.stats();
  assert.ok(entries <= 10 && evictions >= 20, `${entries}, ${evictions}`);
  assert.equal(near.stats().entries, 30);
  advance(2_000);
  for (let at = 0; at < 5; at++) await near.get(`k${at}`);
  assert.equal(near.stats().entries, 5);
  await other.incr("n");
  assert.equal(await near.get("n"), 1);
  assert.equal(near.peek("n"), undefined);
});

test("how late memory may be has to be stated, and within bounds", () => {
  assert.throws(() => memory(), /needs a `ttl`.*memory\({ ttl: "2s" }\)/);
  for (const bad of [
    {},
    { maxBytes: 1 },
    { ttl: 1, maxBytes: 0 },
    { ttl: 1, maxBytes: 2 ** 40 },
    { ttl: 1, maxEntries: "5" },
    { ttl: 1, tll: 2 },
  ]) {
    assert.throws(() => memory(bad), ConfigError, JSON.stringify(bad));
  }
  for (const ttl of [0, -1, NaN, Infinity, 60_001, null, true, FOREVER, {}]) {
    assert.throws(() => memory({ ttl }), InvalidTtlError, String(ttl));
  }
  for (const ttl of ["0s", "61s", "soon", "", "\ud800"]) {
    assert.throws(() => cacheOver(storeNear({ ttl })), InvalidTtlError, ttl);
  }
  for (const near of [true, { ttl: 1 }, 5, null]) assert.throws(() => storeWith(near), /memory\({ ttl: "2s" }\)/);
  for (const ttl of [1, "1m", 60_000]) assert.equal(cacheOver(storeNear({ ttl })).stats().memoryHits, 0);
});
