// Every public call over a real server, by each client library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CacheClosedError, ConfigError, FOREVER, NotACounterError, ValueTooLargeError, createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { CLIENTS, forEachClient, freshNamespace, gate, open, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const VALUES = [
  null,
  true,
  0,
  -1.5,
  "",
  "é\u0000\u{1F600}",
  [],
  {},
  [1, [2, { a: null }]],
  { "": 1, __proto__x: [] },
  new Uint8Array([0, 255]),
  new Uint8Array(),
];

forEachClient((client) =>
  describe(client, () => {
    test("what was stored is read back, as JSON under the namespace", async (t) => {
      const cache = open(t, server.url, { client });
      const other = open(t, server.url, { client, namespace: cache.namespace });
      for (const value of VALUES) {
        await cache.set("k", value);
        assert.deepEqual(await other.get("k"), value);
        assert.deepEqual(await other.getOrSet("k", () => assert.fail("there is one")), value);
        assert.equal(Object.getPrototypeOf((await other.get("k")) ?? Object(1)), Object.getPrototypeOf(value ?? Object(1)));
      }
      await cache.set("k", { id: 5 });
      const bytes = await server.askBytes("GET", `${cache.namespace}:k`);
      assert.equal(bytes.subarray(0, 2).toString("hex"), "c144");
      assert.ok(bytes.toString().endsWith('{"id":5}'));
    });

    test("whole numbers beyond 2^53 and a zero with a sign stay as they are", async (t) => {
      const cache = open(t, server.url, { client });
      const value = { big: 2n ** 64n, small: -(2n ** 53n) - 1n, zero: -0 };
      await cache.set("k", value);
      assert.deepEqual(await cache.get("k"), value);
      assert.ok(Object.is((await cache.get("k")).zero, -0));
      for (let before = 0; before < 40; before++) {
        const field = "x".repeat(before);
        await cache.set("k", { [field]: 2n ** 53n + 1n });
        assert.deepEqual(await cache.get("k"), { [field]: 2n ** 53n + 1n });
      }
    });

    test("a read of many asks each table of tags once, however many values have tags there", async (t) => {
      const cache = open(t, server.url, { client });
      const keys = Array.from({ length: 300 }, (_, n) => `user:${n}`);
      const expected = new Map(keys.map((key, n) => [key, n]));
      for (const [key, n] of expected) await cache.set(key, n, { tags: ["all", `user-${n}`, `group-${n % 7}`] });
      await cache.set("plain", -1);
      await server.ask("CONFIG", "RESETSTAT");
      assert.deepEqual(await cache.getMany([...keys, "plain", "none"]), expected.set("plain", -1));
      const calls = (command, stats) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)[1]);
      const stats = await server.ask("INFO", "commandstats");
      assert.equal(calls("mget", stats), 1);
      // There are 64 of them, and some may have none of these tags.
      assert.ok(calls("hmget", stats) <= 64);
      await cache.invalidateTags("user-5", "group-6");
      for (const [key, n] of expected) if (n === 5 || n % 7 === 6) expected.delete(key);
      assert.deepEqual(await cache.getMany([...keys, "plain"]), expected);
    });

    test("reads of one and of many, and what is known of a key", async (t) => {
      const cache = open(t, server.url, { client });
      assert.equal(await cache.get("k"), undefined);
      assert.equal(cache.peek("k"), undefined);
      assert.equal(await cache.exists("k"), false);
      assert.equal(await cache.ttl("k"), undefined);
      assert.equal((await cache.explain("k")).state, "absent");
      await cache.set("k", "v", { ttl: 60_000, grace: 30_000, tags: ["t"] });
      await cache.set("ever", 1, { ttl: FOREVER });
      assert.equal(await cache.exists("k"), true);
      const left = await cache.ttl("k");
      assert.ok(left > 50_000 && left <= 60_000, String(left));
      assert.equal(await cache.ttl("ever"), Infinity);
      const { tier, state, tags, bytes, freshFor, usableFor } = await cache.explain("k");
      assert.deepEqual({ tier, state, tags, bytes }, { tier: "redis", state: "fresh", tags: ["t"], bytes: 3 });
      assert.ok(Math.abs(usableFor - freshFor - 30_000) < 2);
      assert.deepEqual(
        await cache.getMany(["k", "none", "ever", "k"]),
        new Map([
          ["k", "v"],
          ["ever", 1],
        ]),
      );
      assert.deepEqual(await cache.getMany([]), new Map());
    });

    test("a value is loaded where there is none, and then read", async (t) => {
      const cache = open(t, server.url, { client });
      let loads = 0;
      const load = () => cache.getOrSet("k", () => ({ load: ++loads }), { ttl: "1m" });
      assert.deepEqual([await load(), await load()], [{ load: 1 }, { load: 1 }]);
      assert.deepEqual(await cache.getOrSet("k", () => ({ load: ++loads }), { forceRefresh: true }), { load: 2 });
      assert.deepEqual(await cache.get("k"), { load: 2 });
      const { hits, misses, stores, flights } = cache.stats();
      assert.deepEqual({ hits, misses, stores, flights }, { hits: 2, misses: 2, stores: 2, flights: 0 });
      cache.resetStats();
      assert.equal(cache.stats().hits, 0);
    });

    test("many are loaded by one call, and those that a loader leaves out have none", async (t) => {
      const cache = open(t, server.url, { client });
      await cache.setMany({ a: 1 });
      const asked = [];
      const loader = (keys) => {
        asked.push(keys);
        return Object.fromEntries(keys.filter((key) => key !== "none").map((key) => [key, key.length]));
      };
      assert.deepEqual(
        await cache.getOrSetMany(["a", "bb", "none"], loader),
        new Map([
          ["a", 1],
          ["bb", 2],
        ]),
      );
      assert.deepEqual(asked, [["bb", "none"]]);
      assert.deepEqual(
        await cache.getMany(["a", "bb", "none"]),
        new Map([
          ["a", 1],
          ["bb", 2],
        ]),
      );
      assert.equal(await server.ask("EXISTS", `${cache.namespace}:none`), 0);
    });

    test("a miss holds the right to load until it is filled or given up", async (t) => {
      const cache = open(t, server.url, { client });
      const miss = await cache.lookup("k");
      assert.equal(miss.isHit, false);
      assert.equal((await miss.fill([1], { tags: ["t"] })).isStored, true);
      const hit = await cache.lookup("k");
      assert.deepEqual([hit.isHit, hit.value], [true, [1]]);
      const given = await cache.lookup("other");
      // For ever, so that it does not end by itself.
      assert.equal(await server.ask("PERSIST", `${cache.namespace}:other`), 1);
      await given[Symbol.asyncDispose]();
      await until("the lease is given up", async () => (await server.ask("EXISTS", `${cache.namespace}:other`)) === 0);
    });

    test("only where there is none it adds, be it somebody's lease or dead", async (t) => {
      const cache = open(t, server.url, { client });
      assert.deepEqual([await cache.add("k", 1), await cache.add("k", 2), await cache.get("k")], [true, false, 1]);
      await cache.set("tagged", 1, { tags: ["t"] });
      await cache.invalidateTags("t");
      assert.equal(await cache.add("tagged", 2), true);
      const miss = await cache.lookup("leased");
      assert.equal(await cache.add("leased", "added"), true);
      assert.equal((await miss.fill("late")).isStored, false);
      assert.equal(await cache.get("leased"), "added");
    });

    test("a counter counts, and its time to live is set when it begins", async (t) => {
      const cache = open(t, server.url, { client });
      assert.deepEqual(
        [await cache.incr("n", 1, { ttl: 60_000 }), await cache.incr("n", 41, { ttl: 5 }), await cache.incr("n", -2)],
        [1, 42, 40],
      );
      assert.equal(await cache.get("n"), 40);
      assert.ok((await cache.ttl("n")) > 50_000);
      assert.equal(await server.ask("GET", `${cache.namespace}:n`), "40");
      await cache.set("set", 5, { tags: ["t"] });
      assert.equal(await cache.incr("set"), 6);
      await cache.set("dead", 5, { tags: ["t"] });
      await cache.invalidateTags("t");
      assert.equal(await cache.incr("dead"), 1);
      await cache.set("text", "five");
      await assert.rejects(cache.incr("text"), NotACounterError);
      await server.ask("SET", `${cache.namespace}:most`, "9223372036854775807");
      await assert.rejects(cache.incr("most"), NotACounterError);
    });

    test("a value is given another time to live, its grace as long as it was", async (t) => {
      const cache = open(t, server.url, { client });
      await cache.set("k", 1, { ttl: 1_000, grace: 7_000 });
      assert.equal(await cache.touch("k", 60_000), true);
      const { freshFor, usableFor } = await cache.explain("k");
      assert.ok(freshFor > 50_000 && Math.abs(usableFor - freshFor - 7_000) < 2);
      assert.equal(await cache.touch("none", 60_000), false);
      await cache.incr("n");
      assert.equal(await cache.touch("n", FOREVER), true);
      assert.equal(await cache.ttl("n"), Infinity);
    });

    test("keys, patterns, tags, events and everything are invalidated", async (t) => {
      const cache = open(t, server.url, { client });
      const fill = () => cache.setMany(new Map(["a:1", "a:2", "b:1", "*"].map((key) => [key, key])));
      await fill();
      await cache.set("tagged", 1, { tags: ["t", "u"] });
      assert.deepEqual([await cache.delete("a:1"), await cache.delete("a:1")], [true, false]);
      assert.deepEqual(await cache.deleteMany(["a:2", "none"]), { count: 1, queued: false });
      assert.equal(await cache.delete("*"), true);
      assert.equal(await cache.exists("b:1"), true);
      await fill();
      assert.deepEqual(await cache.invalidatePattern("a:*"), { count: 2, queued: false });
      assert.deepEqual(await cache.invalidateTags("t", "none"), { count: 2, queued: false });
      assert.deepEqual(await cache.getMany(["a:1", "b:1", "tagged"]), new Map([["b:1", "b:1"]]));
      cache.rules.on("changed", { keys: ["a:{id}"], patterns: ["b:*"], tags: ["u"] });
      await fill();
      await cache.set("tagged", 1, { tags: ["u"] });
      assert.deepEqual(await cache.emit("changed", { id: 1 }), { count: 2, queued: false });
      assert.deepEqual(await cache.getMany(["a:1", "a:2", "b:1", "tagged"]), new Map([["a:2", "a:2"]]));
      assert.equal((await cache.clear()).queued, false);
      assert.deepEqual(await cache.getMany(["a:2", "*"]), new Map());
    });

    test("a wrapped function caches what it gives", async (t) => {
      const cache = open(t, server.url, { client });
      let calls = 0;
      const profile = cache.wrap(async (id) => ({ id, call: ++calls }), { key: (id) => ["profile", id], tags: (id) => [`user:${id}`] });
      assert.deepEqual(
        [await profile(5), await profile(5)],
        [
          { id: 5, call: 1 },
          { id: 5, call: 1 },
        ],
      );
      await profile.invalidate(5);
      assert.deepEqual(await profile(5), { id: 5, call: 2 });
      await cache.invalidateTags("user:5");
      assert.deepEqual(await profile(5), { id: 5, call: 3 });
    });

    test("it is filled before anybody asks", async (t) => {
      const cache = open(t, server.url, { client });
      const report = await cache.warm(["a", "b"], { loader: ({ key }) => key });
      assert.deepEqual(report, { loaded: 2, skipped: 0, errors: new Map() });
      await cache.warm(new Map([["c", 3]]));
      assert.deepEqual(
        await cache.getMany(["a", "b", "c"]),
        new Map([
          ["a", "a"],
          ["b", "b"],
          ["c", 3],
        ]),
      );
    });

    test("switched off it neither reads nor stores, and still invalidates", async (t) => {
      const cache = open(t, server.url, { client });
      const other = open(t, server.url, { client, namespace: cache.namespace });
      await cache.setMany({ k: 1, kept: 2 });
      cache.enabled = false;
      assert.equal(await cache.get("k"), undefined);
      assert.deepEqual(await cache.getMany(["k"]), new Map());
      assert.equal(await cache.getOrSet("kept", () => "loaded"), "loaded");
      await cache.set("k", 3);
      assert.equal(await other.get("k"), undefined);
      assert.equal(await other.get("kept"), 2);
      assert.equal(await cache.delete("kept"), true);
      cache.enabled = true;
      assert.deepEqual(await cache.getMany(["k", "kept"]), new Map());
    });

    test("it says whether the server answers, and after its end that it was closed", async (t) => {
      const cache = open(t, server.url, { client });
      const before = async () => (await server.ask("CLIENT", "LIST")).split("\n").length;
      const others = await before();
      assert.equal(await cache.ping(), true);
      const late = gate(1);
      const loaded = cache.getOrSet("late", late);
      await late.begun;
      await cache.close();
      assert.equal(await cache.ping(), false);
      await assert.rejects(cache.get("k"), CacheClosedError);
      late.release();
      assert.equal(await loaded, 1);
      await until("the connection is closed", async () => (await before()) === others);
    });

    test("what a client was told for its own use does not reach the cache", async (t) => {
      const clientOptions = client.startsWith("io")
        ? { keyPrefix: "p:", stringNumbers: true, enableAutoPipelining: true, commandTimeout: 1, db: 3, connectionName: "mine" }
        : { keyPrefix: "p:", RESP: 3, commandOptions: { timeout: 1 }, database: 3, name: "mine", pingInterval: 1 };
      const cache = open(t, server.url, { client, clientOptions });
      await cache.set("k", { a: 1 }, { tags: ["t"] });
      assert.equal(await cache.incr("n"), 1);
      assert.deepEqual(await cache.get("k"), { a: 1 });
      assert.equal(await server.ask("EXISTS", `${cache.namespace}:k`), 0);
      assert.deepEqual(await cache.invalidatePattern("*k"), { count: 1, queued: false });
      assert.ok((await server.ask("INFO", "keyspace")).includes("db3:"));
    });
  }),
);

test("a client of something else is refused", async () => {
  for (const client of [
    undefined,
    null,
    {},
    "redis://localhost",
    new Map(),
    { isCluster: true, status: "", callBuffer() {}, getBuffer() {}, duplicate() {} },
  ]) {
    assert.throws(() => redis(client), ConfigError);
  }
  const client = CLIENTS["ioredis 5"]("redis://127.0.0.1:1");
  for (const options of [{ commandTimeout: 0 }, { connectTimeout: Infinity }, { maxValueBytes: "1" }, { commandTimeout: NaN }]) {
    assert.throws(() => redis(client, options), ConfigError);
  }
  assert.throws(() => createCache({ store: redis(client), namespace: "a:b" }), ConfigError);
});

test("the client that is given is asked for nothing but where the server is", async (t) => {
  const client = CLIENTS["ioredis 5"](server.url);
  const cache = createCache({ namespace: freshNamespace(), store: redis(client) });
  t.after(() => cache.close());
  await cache.set("k", 1);
  assert.equal(client.status, "wait");
});

test("a value that is too large is not stored, and what is under its key goes", async (t) => {
  const cache = open(t, server.url, { limits: { maxValueBytes: 100, commandTimeout: 10_000 } });
  await cache.set("k", "short");
  await cache.set("k", "x".repeat(200));
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "y".repeat(200)), "y".repeat(200));
  assert.equal(await cache.exists("k"), false);
  assert.ok(cache.stats().tooLarge >= 2);
  const strict = open(t, server.url, { limits: { maxValueBytes: 100 }, strict: true });
  await assert.rejects(strict.set("k", "x".repeat(200)), ValueTooLargeError);
  await assert.rejects(strict.setMany({ a: 1, k: "x".repeat(200) }), ValueTooLargeError);
});
