// A core that traps in the midst of a call, in a build that can be told to (`node build.mjs --trap`).

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { createClient } from "redis";
import { kv } from "../dist-trap/kv.js";
import { memory } from "../dist-trap/near.js";
import { redis } from "../dist-trap/redis.js";
import { LockLostError, ManualClock, createCache, initSync } from "../dist-trap/slim.js";
import { FakeKv } from "./fake-kv.mjs";
import { RedisServer, until } from "./redis/server.mjs";

/** The cores that were started, the newest last: a test reaches into them where a program cannot. */
const cores = [];
/** Calls by name that trap each time, in every core. */
const broken = new Set();

const { Instance } = WebAssembly;
WebAssembly.Instance = class {
  constructor(module, imports) {
    const { exports } = new Instance(module, imports);
    cores.push(exports);
    const calls = Object.entries(exports).map(([name, call]) => {
      const trapping = (...numbers) => {
        if (broken.has(name)) exports.trap();
        return call(...numbers);
      };
      return [name, typeof call === "function" ? trapping : call];
    });
    this.exports = Object.fromEntries(calls);
  }
};

initSync(await readFile(new URL("../dist-trap/core.wasm", import.meta.url)));

/** A cache, and `trapNext`, after which its next call into the core traps. */
function trappable(options) {
  const logged = [];
  const cache = createCache({ clock: new ManualClock(), log: (message) => logged.push(message), ...options });
  const trapNext = () => cores.at(-1).trap();
  return { cache, logged, trapNext };
}

/** A loader that is answered by hand. */
function byHand() {
  const calls = [];
  const load = () => new Promise((give, fail) => calls.push({ give, fail }));
  load.calls = calls;
  return load;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

const CALLS = {
  get: [(cache) => cache.get("k"), undefined],
  peek: [async (cache) => cache.peek("k"), undefined],
  getMany: [(cache) => cache.getMany(["k"]), new Map()],
  exists: [(cache) => cache.exists("k"), false],
  ttl: [(cache) => cache.ttl("k"), undefined],
  "getOrSet of a hit": [(cache) => cache.getOrSet("k", () => "loaded"), "loaded"],
  "getOrSet of a miss": [(cache) => cache.getOrSet("other", () => "loaded"), "loaded"],
  getOrSetMany: [(cache) => cache.getOrSetMany(["k"], () => ({ k: "loaded" })), new Map([["k", "loaded"]])],
  set: [(cache) => cache.set("other", 1), undefined],
  add: [(cache) => cache.add("k", 1), true],
  incr: [(cache) => cache.incr("k"), 1],
  touch: [(cache) => cache.touch("k", 5), false],
  delete: [(cache) => cache.delete("k"), false],
  invalidatePattern: [(cache) => cache.invalidatePattern("k*"), { count: 0, queued: false }],
  invalidateTags: [(cache) => cache.invalidateTags("t"), { count: 1, queued: false }],
  clear: [(cache) => cache.clear(), { count: 0, queued: false }],
  emit: [(cache) => cache.emit("event"), { count: 0, queued: false }],
  lock: [async (cache) => (await cache.lock("k", { ttl: 1_000 })).release(), undefined],
};

for (const [name, [call, expected]] of Object.entries(CALLS)) {
  test(`a trap in ${name} leaves a fresh, empty, working cache, and one error in the log`, async () => {
    const { cache, logged, trapNext } = trappable();
    await cache.set("k", "old");
    await cache.set("l", "old");
    trapNext();
    assert.deepEqual(await call(cache), expected);
    assert.equal(logged.length, 1);
    assert.match(logged[0], /broke off and was started anew, empty/);
    assert.equal(cache.stats().restarts, 1);
    assert.equal(await cache.get("l"), undefined);
    await cache.set("new", { a: 1 }, { tags: ["t"] });
    assert.deepEqual(await cache.get("new"), { a: 1 });
    assert.equal(await cache.getOrSet("load", () => 1), 1);
    await cache.invalidateTags("t");
    assert.equal(await cache.get("new"), undefined);
    assert.equal(logged.length, 1);
    await cache.close();
  });
}

test("who waits for a load when it traps loads anew, and the load under way stores nothing", async () => {
  const { cache, logged, trapNext } = trappable();
  const [load, again] = [byHand(), byHand()];
  const leader = cache.getOrSet("k", load);
  const waiting = [cache.getOrSet("k", again), cache.getOrSet("k", again), cache.lookup("k")];
  await turn();
  trapNext();
  await cache.get("any");
  await turn();
  assert.equal(again.calls.length, 1);
  load.calls[0].give("old");
  assert.equal(await leader, "old");
  assert.equal(await cache.get("k"), undefined);
  again.calls[0].give("new");
  assert.deepEqual(await Promise.all(waiting.slice(0, 2)), ["new", "new"]);
  assert.equal((await waiting[2]).value, "new");
  assert.equal(await cache.get("k"), "new");
  assert.equal(logged.length, 1);
  await cache.close();
});

test("a load that traps when it is stored gives its value to its caller, and to those who wait", async () => {
  const { cache, logged, trapNext } = trappable();
  const load = byHand();
  const both = [cache.getOrSet("k", load), cache.getOrSet("k", () => "anew")];
  await turn();
  trapNext();
  load.calls[0].give("old");
  assert.deepEqual(await Promise.all(both), ["old", "anew"]);
  assert.equal(await cache.get("k"), "anew");
  assert.equal(logged.length, 1);
  await cache.close();
});

test("who waits may leave after a trap, and a miss from before it is not filled", async () => {
  const { cache, trapNext } = trappable();
  const miss = await cache.lookup("k");
  const leaver = new AbortController();
  const hanging = cache.getOrSet("k", byHand(), { signal: leaver.signal });
  await turn();
  trapNext();
  await cache.get("any");
  await turn();
  assert.deepEqual(await miss.fill("old"), { value: "old", isStored: false });
  leaver.abort();
  await assert.rejects(hanging, { name: "AbortError" });
  assert.equal(await cache.getOrSet("k", () => "new"), "new");
  await cache.close();
});

test("locks are lost in a trap, their holders are told, and who waits for one gets it", async () => {
  const { cache, trapNext } = trappable();
  const lock = await cache.lock("job", { ttl: "1m" });
  const waiting = cache.lock("job", { ttl: "1m" });
  await turn();
  trapNext();
  await cache.get("any");
  const next = await waiting;
  await assert.rejects(lock.release(), LockLostError);
  await next.release();
  await cache.close();
});

test("what the cache was told stays told: rules, times to live, and that it is switched off", async () => {
  const { cache, trapNext } = trappable({ ttlClasses: { brief: 5 } });
  cache.rules.on("event", { keys: ["k"] });
  const listener = cache.subscribe("channel");
  cache.enabled = false;
  trapNext();
  await cache.exists("any");
  await cache.set("k", 1);
  assert.equal(await cache.get("k"), undefined);
  cache.enabled = true;
  await cache.set("k", 1, { ttl: "brief" });
  assert.equal(await cache.ttl("k"), 5);
  assert.equal((await cache.emit("event")).count, 1);
  await cache.publish("channel", "heard");
  assert.equal((await listener.next()).value.data, "heard");
  await cache.close();
});

test("a second trap is survived as the first, and so is each that follows", async () => {
  const { cache, logged, trapNext } = trappable();
  for (let round = 1; round <= 20; round++) {
    await cache.set("k", round);
    assert.equal(await cache.get("k"), round);
    trapNext();
    assert.equal(await cache.get("k"), undefined);
    assert.equal(logged.length, round);
    assert.equal(cache.stats().restarts, round);
  }
  await cache.close();
});

test("who leaves a wait or fails under a lease as it traps gets its own error, and the cache goes on", async () => {
  const { cache, logged, trapNext } = trappable();
  await cache.set("stale", "old", { ttl: 1, grace: 1_000 });
  const load = byHand();
  const failing = cache.getOrSet("k", load);
  const leaver = new AbortController();
  const leaving = cache.getOrSet("k", byHand(), { signal: leaver.signal });
  await turn();
  trapNext();
  leaver.abort();
  await assert.rejects(leaving, { name: "AbortError" });
  load.calls[0].fail(new RangeError("mine"));
  await assert.rejects(failing, RangeError);
  const lead = cache.getOrSet("k", load);
  await turn();
  trapNext();
  load.calls[1].fail(new RangeError("mine"));
  await assert.rejects(lead, RangeError);
  assert.equal(await cache.getOrSet("k", () => "new"), "new");
  assert.equal(logged.length, 2);
  await cache.close();
});

test("a call that traps each time it is made fails, and only that", async (t) => {
  const { cache, logged } = trappable();
  t.after(() => broken.clear());
  broken.add("delete");
  await assert.rejects(cache.delete("k"), { name: "Trapped" });
  assert.equal(logged.length, 2);
  await cache.set("k", 1);
  assert.equal(await cache.get("k"), 1);
  assert.equal(logged.length, 2);
  await cache.close();
});

test("a trap in the cache's own look at what is over is survived", async () => {
  const { cache, logged, trapNext } = trappable();
  await cache.set("k", 1, { ttl: 5 });
  trapNext();
  while (logged.length === 0) await turn();
  assert.equal(await cache.get("k"), undefined);
  await cache.set("k", 2);
  assert.equal(await cache.get("k"), 2);
  assert.equal(logged.length, 1);
  await cache.close();
});

test("a trap over Redis keeps no loader from running, and the cache goes on", async () => {
  // Nobody listens there: what is tried goes as far as the core, which is what traps.
  const client = createClient({ url: "redis://127.0.0.1:1" });
  const { cache, logged, trapNext } = trappable({ clock: undefined, store: redis(client) });
  trapNext();
  assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
  assert.equal(logged.filter((message) => message.includes("started anew")).length, 1);
  assert.equal(await cache.getOrSet("k", () => "loaded again"), "loaded again");
  await cache.close();
});

test("a trap over Redis of the core that is asked what texts mean fails what was asked, and it knows all that it was told", async () => {
  const client = createClient({ url: "redis://127.0.0.1:1" });
  const { cache } = trappable({ clock: undefined, ttlClasses: { brief: 5 }, store: redis(client) });
  cache.rules.on("event", { keys: ["k"] });
  const texts = cores.findLast((core) => "resolve_ttl" in core);
  texts.trap();
  await assert.rejects(
    cache.getOrSet("k", () => "loaded", { ttl: "7m" }),
    { name: "Trapped" },
  );
  assert.equal(await cache.getOrSet("k", () => "loaded", { ttl: "brief" }), "loaded");
  assert.equal((await cache.emit("event")).queued, true);
  await cache.close();
});

for (const call of ["near_hit", "near_guard", "near_admit", "pushed", "answered"]) {
  test(`a trap in ${call} of the memory in front of Redis takes along what that had, and the cache goes on`, async (t) => {
    const server = await RedisServer.start();
    t.after(() => server.close());
    const client = createClient({ url: server.url });
    const store = redis(client, { near: true, commandTimeout: 10_000, connectTimeout: 10_000 });
    const { cache, logged } = trappable({ clock: undefined, store });
    t.after(() => cache.close());
    t.after(() => broken.clear());
    const kept = (key) =>
      until("memory has it", async () => {
        await cache.get(key);
        return cache.peek(key) !== undefined;
      });
    await cache.setMany({ k: 1, other: 2 });
    await kept("k");
    broken.add(call);
    await until("it has trapped", async () => {
      // Each of these is asked for by one of them.
      assert.equal(await cache.get("k"), 1);
      await cache.get("other");
      await server.ask("DEL", "app:other");
      return logged.some((message) => message.includes("memory in front of the store broke off"));
    });
    broken.clear();
    await kept("k");
    assert.equal(await cache.get("k"), 1);
  });
}

for (const call of ["near_hit", "near_guard", "near_admit", "near_forget"]) {
  test(`a trap in ${call} of the memory in front of KV takes along what that had, and the caches over it go on`, async (t) => {
    const namespace = new FakeKv();
    const made = () => trappable({ clock: undefined, store: kv(namespace, { near: memory({ ttl: "1m" }) }) });
    const [{ cache, logged }, { cache: other }] = [made(), made()];
    t.after(() => Promise.all([cache.close(), other.close()]));
    t.after(() => broken.clear());
    await cache.setMany({ k: 1, had: 2 });
    await cache.getMany(["k", "had"]);
    assert.equal(other.peek("had"), 2);
    broken.add(call);
    // Each of these is asked for by one of them.
    assert.equal(await cache.get("k"), 1);
    assert.equal(await cache.get("k", { mode: "strong" }), 1);
    await cache.delete("other");
    assert.ok(logged.some((message) => message.includes("memory in front of the store broke off")));
    broken.clear();
    assert.equal(other.peek("had"), undefined);
    assert.equal(await cache.get("k"), 1);
    assert.equal(other.peek("k"), 1);
  });
}
