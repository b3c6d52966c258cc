// Memory in front of Redis, by each client library: two caches of one namespace stand for two processes.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigError, createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { entryOf } from "./envelope.mjs";
import { CLIENTS, FIRST, PATIENT, forEachClient, gate, open, proxyTo, start, until } from "./kit.mjs";

const TOLD = { "node-redis 6": "tracking", "node-redis 5": "tracking", "ioredis 5": "fallback" };

/** A cache with memory in front, which is told of changes by now. */
async function openNear(test, url, { client = FIRST, near = true, limits = PATIENT, ...options } = {}) {
  const cache = open(test, url, { client, limits: { ...limits, near }, ...options });
  assert.equal(await cache.ping(), true);
  await believed(cache);
  return cache;
}

const believed = (cache) => until("the cache is told of changes", () => ["tracking", "fallback"].includes(cache.stats().coherence));

/** Reads until memory has the value: what is just being told keeps an answer out. */
async function kept(cache, key) {
  await until(`memory has ${key}`, async () => {
    await cache.get(key);
    return cache.peek(key) !== undefined;
  });
  return cache.peek(key);
}

const gone = (cache, key) => until(`memory has no ${key} any more`, () => cache.peek(key) === undefined);

/** How often the server was asked for values. */
async function reads(server) {
  let calls = 0;
  for (const command of ["get", "mget"]) calls += Number(/calls=(\d+)/.exec(await server.info(`cmdstat_${command}`))?.[1] ?? 0);
  return calls;
}

const never = () => assert.fail("it is there");

forEachClient((client) =>
  describe(client, () => {
    /** A near cache and a plain one. */
    async function pair(t, settings = {}) {
      const server = await start(t);
      const near = await openNear(t, server.url, { client, ...settings });
      return { server, near, other: open(t, server.url, { client, namespace: near.namespace }) };
    }

    test("hits are copies out of memory, by every way to read, and cost the server nothing", async (t) => {
      const { server, near, other } = await pair(t);
      await other.set("k", { list: [1, 2] });
      await other.set("bytes", new Uint8Array([1, 2]));
      await other.set("null", null);
      for (const key of ["k", "bytes", "null"]) await kept(near, key);
      const before = await reads(server);
      const hits = near.stats().memoryHits;
      (await near.get("k")).list.push(3);
      (await near.get("bytes"))[0] = 9;
      assert.deepEqual(await near.get("k"), { list: [1, 2] });
      assert.deepEqual(near.peek("bytes"), new Uint8Array([1, 2]));
      assert.equal(await near.get("null"), null);
      assert.deepEqual(await near.getOrSet("k", never), { list: [1, 2] });
      assert.deepEqual((await near.lookup("k")).value, { list: [1, 2] });
      assert.deepEqual(
        [...(await near.getMany(["null", "k", "null"]))],
        [
          ["null", null],
          ["k", { list: [1, 2] }],
        ],
      );
      assert.deepEqual(await near.getOrSetMany(["bytes"], never), new Map([["bytes", new Uint8Array([1, 2])]]));
      for (let times = 0; times < 1_000; times++) await near.get("k");
      assert.equal(await reads(server), before);
      const stats = near.stats();
      assert.equal(stats.memoryHits - hits, 1_010);
      assert.equal(stats.entries, 3);
      assert.ok(stats.hits >= stats.memoryHits && stats.bytes > 0 && stats.lastPush === undefined);
    });

    test("of many keys only those are asked for that memory has not", async (t) => {
      const { server, near, other } = await pair(t);
      await other.setMany({ a: 1, b: 2 });
      await kept(near, "a");
      const before = await reads(server);
      assert.deepEqual(
        [...(await near.getMany(["b", "a", "missing"]))],
        [
          ["b", 2],
          ["a", 1],
        ],
      );
      assert.equal((await reads(server)) - before, 1);
      const loaded = await near.getOrSetMany(["c", "a"], (keys) => Object.fromEntries(keys.map((key) => [key, key])));
      assert.deepEqual(
        [...loaded],
        [
          ["c", "c"],
          ["a", 1],
        ],
      );
    });

    for (const [what, change] of Object.entries({
      "another cache's delete": ({ other }) => other.delete("k"),
      "another cache's set": ({ other }) => other.set("k", 2, { tags: ["t"] }),
      "another cache's pattern": ({ other }) => other.invalidatePattern("k*"),
      "another cache's tag": ({ other }) => other.invalidateTags("t"),
      "another cache's clear": ({ other }) => other.clear(),
      "a DEL by hand": ({ server, near }) => server.ask("DEL", `${near.namespace}:k`),
      "a SET by hand": ({ server, near }) => server.ask("SET", `${near.namespace}:k`, "7"),
      "a RENAME by hand": ({ server, near }) => server.ask("RENAME", `${near.namespace}:k`, "elsewhere"),
      "an EXPIRE by hand": async ({ server, near }) => {
        await server.ask("PEXPIRE", `${near.namespace}:k`, "1");
        await until("it is over", async () => (await server.ask("EXISTS", `${near.namespace}:k`)) === 0);
      },
      FLUSHALL: ({ server }) => server.ask("FLUSHALL"),
    })) {
      test(`what is in memory goes by ${what}`, async (t) => {
        const both = await pair(t);
        const { near, other } = both;
        await other.set("k", 1, { tags: ["t"] });
        await other.set("other", 1);
        await kept(near, "other");
        assert.equal(await kept(near, "k"), 1);
        await change(both);
        await gone(near, "k");
        assert.notEqual(await near.get("k"), 1);
        assert.ok(near.stats().lastPush >= 0);
      });
    }

    for (const [what, change] of Object.entries({
      delete: (near) => near.delete("k"),
      deleteMany: (near) => near.deleteMany(["k"]),
      set: (near) => near.set("k", 2),
      setMany: (near) => near.setMany({ k: 2 }),
      incr: (near) => near.incr("k"),
      invalidatePattern: (near) => near.invalidatePattern("k*"),
      invalidateTags: (near) => near.invalidateTags("t"),
      clear: (near) => near.clear(),
      emit: (near) => near.emit("changed"),
    })) {
      test(`what this process has changed by ${what} is not in its memory once that has returned`, async (t) => {
        const { near, other } = await pair(t);
        near.rules.on("changed", { keys: ["k"] });
        for (let round = 0; round < 20; round++) {
          if (what === "incr") await other.set("k", 1);
          else await other.set("k", 1, { tags: ["t"] });
          await kept(near, "k");
          // Those that read meanwhile bring the old value back only if it may be served.
          const reading = Promise.all(Array.from({ length: 10 }, () => near.get("k")));
          const changed = change(near).catch((error) => assert.equal(error.name, "NotACounterError"));
          // Nor before: what is about to change is not served any more. The rules of an event have their turn first.
          if (what !== "emit") assert.equal(near.peek("k"), undefined);
          await changed;
          assert.notEqual(near.peek("k"), 1);
          await reading;
          assert.notEqual(await near.get("k"), 1);
          assert.notEqual(near.peek("k"), 1);
        }
      });
    }

    test("a strong read asks Redis whatever memory has, by the call and by the cache", async (t) => {
      const { server, near, other } = await pair(t);
      await other.set("k", 1);
      await kept(near, "k");
      const strong = await openNear(t, server.url, { client, namespace: near.namespace, mode: "strong" });
      await strong.get("k");
      const before = await reads(server);
      assert.equal(await near.get("k", { mode: "strong" }), 1);
      assert.deepEqual(await near.getMany(["k"], { mode: "strong" }), new Map([["k", 1]]));
      assert.equal(await near.getOrSet("k", never, { mode: "strong" }), 1);
      assert.deepEqual(await near.getOrSetMany(["k"], never, { mode: "strong" }), new Map([["k", 1]]));
      assert.equal((await near.lookup("k", { mode: "strong" })).value, 1);
      const wrapped = near.wrap(never, { key: () => "k", mode: "strong" });
      assert.deepEqual([await wrapped(), await wrapped.get()], [1, 1]);
      assert.equal(await strong.get("k"), 1);
      assert.equal((await reads(server)) - before, 8);
      assert.equal(await strong.get("k", { mode: "local" }), 1);
      assert.equal((await reads(server)) - before, 8);
    });

    test("what was loaded is in memory, and its tags are known there", async (t) => {
      const { server, near, other } = await pair(t);
      await until("the fill has come behind word of its placeholder", async () => {
        await near.delete("k");
        await near.getOrSet("k", () => sleep(20, [1]), { tags: ["t"] });
        return near.peek("k") !== undefined;
      });
      const before = await reads(server);
      assert.deepEqual(await near.get("k"), [1]);
      assert.equal(await reads(server), before);
      await other.invalidateTags("t");
      await gone(near, "k");
      assert.equal(await near.get("k"), undefined);
    });

    test("a counter is in memory until it moves, and for no longer than it lives", async (t) => {
      const { near, other } = await pair(t);
      await other.incr("n", 5, { ttl: "1h" });
      assert.equal(await kept(near, "n"), 5);
      assert.ok((await near.explain("n")).freshFor <= 60_000);
      await other.incr("n");
      await until("the sum has moved", async () => (await near.get("n")) === 6);
    });

    test("an answer that is overtaken by word of a change does not enter", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const near = await openNear(t, proxy.url, { client });
      const other = open(t, server.url, { client, namespace: near.namespace });
      await other.set("k", "old");
      for (let round = 0; round < 5; round++) {
        const arrived = proxy.arrived("replies");
        const before = await reads(server);
        proxy.hold("replies");
        const reading = near.get("k", { mode: "strong" });
        await arrived;
        await until("the server has answered", async () => (await reads(server)) > before);
        await other.set("k", `new ${round}`);
        proxy.release("replies");
        await reading;
        await until("memory has what is there", async () => {
          const value = await near.get("k");
          return value === `new ${round}` && near.peek("k") === value;
        });
      }
    });

    test("a lost connection is the end of what came over it, and the next one begins anew", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const near = await openNear(t, proxy.url, { client });
      await near.set("k", 1);
      await kept(near, "k");
      proxy.hold("requests");
      proxy.cut();
      await gone(near, "k");
      assert.equal(near.stats().coherence, "suspect");
      await server.ask("DEL", `${near.namespace}:k`);
      proxy.release("requests");
      await believed(near);
      assert.equal(await near.get("k"), undefined);
    });

    test("a server that stands still is believed for as long as was stated, and no longer", async (t) => {
      // So patient that nothing else ends it.
      const { server, near, other } = await pair(t, { limits: { commandTimeout: 600_000, connectTimeout: 10_000 } });
      await other.set("k", 1);
      await kept(near, "k");
      await server.pause();
      await gone(near, "k");
      assert.equal(near.stats().coherence, "suspect");
      server.resume();
      await believed(near);
      assert.equal(await kept(near, "k"), 1);
    });

    test("a server that is started again has taken everything along", async (t) => {
      const { server, near } = await pair(t);
      await near.set("k", 1);
      await kept(near, "k");
      await server.restart();
      await gone(near, "k");
      await believed(near);
      assert.equal(await near.getOrSet("k", () => 2), 2);
    });

    test("the loss of either connection is that of both", async (t) => {
      const { server, near } = await pair(t);
      await near.set("k", 1);
      /** Its two connections by their numbers; the one that is told has a flag for that. */
      const connections = async () => {
        const lines = (await server.ask("CLIENT", "LIST", "TYPE", "normal")).split("\n").filter((line) => / addr=127/.test(line));
        return new Map(lines.map((line) => [/ flags=t/.test(line) ? "told" : "usual", /id=(\d+)/.exec(line)[1]]));
      };
      for (const which of ["told", "usual"]) {
        await kept(near, "k");
        const before = await connections();
        assert.equal(before.size, 2);
        await server.ask("CLIENT", "KILL", "ID", before.get(which));
        await gone(near, "k");
        await believed(near);
        assert.equal(await kept(near, "k"), 1);
        for (const number of (await connections()).values()) assert.ok(![...before.values()].includes(number));
      }
    });

    test("told of everything, memory goes by changes of what it never read as well", async (t) => {
      const { server, near, other } = await pair(t, { near: { broadcast: true } });
      await other.set("k", 1, { tags: ["t"] });
      assert.equal(await kept(near, "k"), 1);
      const { lastPush } = near.stats();
      assert.ok(lastPush >= 0, "the write was told, though the key had not been read");
      await other.invalidateTags("t");
      await gone(near, "k");
      await other.set("k", 2);
      await kept(near, "k");
      await server.ask("DEL", `${near.namespace}:k`);
      await gone(near, "k");
    });

    test("a user whom nobody may tell has no memory in front, and is told so once", async (t) => {
      const rules = "on >x ~* &* +@all -client|tracking";
      const server = await start(t, { users: { quiet: rules } });
      const url = server.url.replace("redis://", "redis://quiet:x@");
      const near = open(t, url, { client, limits: { ...PATIENT, near: true } });
      await near.ping();
      await until("that is known", () => near.stats().coherence === "off");
      await near.set("k", 1);
      assert.equal(await near.get("k"), 1);
      assert.equal(near.peek("k"), undefined);
      assert.equal(near.logged.filter((text) => text.includes("tells nobody here of changes")).length, 1);
    });

    test("while there is no connection, memory serves what it has as stale where that was allowed, but not what it invalidated", async (t) => {
      const limits = { commandTimeout: 1_000, connectTimeout: 1_000 };
      const { server, near } = await pair(t, { near: { maxStale: 60_000 }, limits });
      await near.setMany({ a: 1, b: 2 });
      await kept(near, "a");
      await kept(near, "b");
      await server.kill();
      await until("the loss is known", () => near.stats().coherence === "suspect");
      const { stale } = near.stats();
      assert.equal(await near.get("a"), 1);
      assert.equal(near.peek("b"), 2);
      assert.equal(near.stats().stale - stale, 2);
      assert.equal((await near.deleteMany(["b"])).queued, true);
      assert.equal(near.peek("b"), undefined);
      assert.equal(near.peek("a"), 1);
    });

    test("explain and stats say where a value is, and what memory is worth", async (t) => {
      const { near, other } = await pair(t);
      await other.set("k", 1, { ttl: "10s" });
      const there = await near.explain("k");
      assert.deepEqual([there.tier, there.state, there.coherence], ["redis", "fresh", TOLD[client]]);
      await kept(near, "k");
      const here = await near.explain("k");
      assert.deepEqual([here.tier, here.state, here.coherence], ["memory", "fresh", TOLD[client]]);
      assert.ok(here.freshFor > 0 && here.freshFor < 50_000, "as long as Redis has it, not as long as memory may");
      const absent = await near.explain("missing");
      assert.deepEqual([absent.tier, absent.state, absent.coherence], [undefined, "absent", TOLD[client]]);
      assert.equal(near.stats().coherence, TOLD[client]);
      near.resetStats();
      assert.equal(near.stats().memoryHits, 0);
      const without = await other.explain("k");
      assert.ok(!("coherence" in without) && !("coherence" in other.stats()));
    });

    test("memory is bounded, and what it loses is read again", async (t) => {
      const { near, other } = await pair(t, { near: { maxEntries: 10 } });
      await other.setMany(Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`k:${at}`, at])));
      for (let at = 0; at < 50; at++) assert.equal(await near.get(`k:${at}`), at);
      assert.ok(near.stats().entries <= 10);
      for (let at = 0; at < 50; at++) assert.equal(await near.get(`k:${at}`), at);
    });

    test("switched off, memory answers nothing", async (t) => {
      const { near } = await pair(t);
      await near.set("k", 1);
      await kept(near, "k");
      near.enabled = false;
      assert.equal(near.peek("k"), undefined);
      assert.equal(await near.get("k"), undefined);
      near.enabled = true;
      assert.equal(await near.get("k"), 1);
    });

    test("a closed cache keeps no connection", async (t) => {
      const { server, near } = await pair(t);
      await near.close();
      await until("nobody is connected any more", async () => (await server.ask("CLIENT", "LIST")).trim().split("\n").length === 1);
    });

    test("a load is shared and refused as without memory", async (t) => {
      const { near, other } = await pair(t);
      const old = gate("old");
      const loading = near.getOrSet("k", old);
      await old.begun;
      await other.delete("k");
      old.release();
      assert.equal(await loading, "old");
      assert.equal(near.peek("k"), undefined);
      assert.equal(await near.getOrSet("k", () => "new"), "new");
    });
  }),
);

test("a value of every kind is from memory what it is from Redis", async (t) => {
  const server = await start(t);
  const near = await openNear(t, server.url);
  const other = open(t, server.url, { namespace: near.namespace });
  const tags = Array.from({ length: 64 }, (_, at) => `${at}`.padStart(256, "t"));
  for (const [value, options] of [
    [2n ** 64n],
    [-0],
    ["ü€🦀"],
    [[]],
    [{ a: [null, { b: true }], ["__proto__"]: { c: 1 } }],
    [new Uint8Array(100_000).fill(7)],
    ["x".repeat(100_000), { tags }],
    [false, { tags: ["t"], grace: "1m" }],
  ]) {
    await other.set("k", value, options);
    await until("that is it", async () => {
      await near.get("k");
      return near.peek("k") !== undefined;
    });
    assert.deepStrictEqual(near.peek("k"), await other.get("k"));
    assert.deepStrictEqual(await near.getOrSet("k", never), value);
    await near.delete("k");
  }
});

test("what others have stored that this package would refuse is read, and kept", async (t) => {
  const server = await start(t);
  const near = await openNear(t, server.url);
  const life = { fresh_until_ms: null, usable_until_ms: null, load_ms: 0, fingerprint: null, tags: [] };
  for (const [json, value] of [
    ['"half \\ud800"', "half \ud800"],
    ["1e999", Infinity],
  ]) {
    const payload = Buffer.from(json).toString("hex");
    await server.ask("SET", `${near.namespace}:k`, entryOf({ kind: "V", token: "01".repeat(16), codec: "json", payload, ...life }));
    await until("memory has it", async () => {
      assert.equal(await near.get("k", { mode: "strong" }), value);
      return near.peek("k") === value;
    });
  }
});

test("what cannot be read is no value, from memory either, and what is no entry is not kept", async (t) => {
  const server = await start(t);
  const near = await openNear(t, server.url);
  const life = { fresh_until_ms: null, usable_until_ms: null, load_ms: 0, fingerprint: null, tags: [] };
  const broken = entryOf({ kind: "V", token: "01".repeat(16), codec: "json", payload: Buffer.from("{").toString("hex"), ...life });
  for (const bytes of [broken, Buffer.from("anything"), Buffer.from([0xc1, 0x44, 1, 0x56])]) {
    await server.ask("SET", `${near.namespace}:k`, bytes);
    for (let times = 0; times < 3; times++) assert.equal(await near.get("k"), undefined);
    assert.equal(near.peek("k"), undefined);
    assert.equal(near.stats().entries, 0);
  }
  assert.equal(await near.getOrSet("k", () => "loaded"), "loaded");
});

test("memory in front has options of its own, and says what is wrong with them", () => {
  const make = (near) => redis(CLIENTS[FIRST]("redis://localhost"), { near });
  for (const near of [1, "yes", null, [], () => undefined])
    assert.throws(() => make(near), { name: "ConfigError", message: /`near` is true or false/ });
  assert.throws(() => make({ maxSize: 1 }), { name: "ConfigError", message: /there is no option `maxSize`/ });
  for (const name of ["maxBytes", "maxEntries", "maxStale"]) {
    for (const given of [0, -1, NaN, Infinity, "1", null]) {
      assert.throws(() => make({ [name]: given }), { name: "ConfigError", message: new RegExp(`\`${name}\` is a positive number`) });
    }
  }
  assert.throws(() => make({ broadcast: 1 }), { name: "ConfigError", message: /`broadcast` is true or false/ });
  assert.throws(() => redis(CLIENTS[FIRST]("redis://localhost"), { nearby: true }), ConfigError);
});

test("a mode is one of two, wherever it is said", async (t) => {
  assert.throws(() => createCache({ mode: "weak" }), { name: "ConfigError", message: /`mode` is "local" or "strong"/ });
  const cache = createCache();
  t.after(() => cache.close());
  await cache.set("k", 1);
  const wrong = { name: "ConfigError", message: /`mode` is "local" or "strong"/ };
  await assert.rejects(cache.get("k", { mode: "weak" }), wrong);
  await assert.rejects(cache.getMany(["k"], { mode: "weak" }), wrong);
  await assert.rejects(cache.getOrSet("k", never, { mode: "weak" }), wrong);
  await assert.rejects(cache.getOrSetMany(["k"], never, { mode: "weak" }), wrong);
  await assert.rejects(cache.lookup("k", { mode: "weak" }), wrong);
  await assert.rejects(cache.get("k", { modus: "local" }), { name: "ConfigError", message: /there is no option `modus`/ });
  await assert.rejects(cache.get("k", "local"), TypeError);
  for (const mode of ["local", "strong"]) {
    assert.equal(await cache.get("k", { mode }), 1, "in memory alone both are the same");
    assert.equal(await cache.getOrSet("k", never, { mode }), 1);
  }
});
