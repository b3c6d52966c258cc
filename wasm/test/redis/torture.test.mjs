// The faults of other caches (T1 to T17), as far as they concern values in Redis, by each client library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { InvalidTtlError, LockLostError } from "../../dist/inline.js";
import { forEachClient, gate, open, stillWaits, turn, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const INVALIDATIONS = {
  delete: (cache) => cache.delete("k"),
  "a pattern": (cache) => cache.invalidatePattern("k*"),
  "a tag": (cache) => cache.invalidateTags("t"),
  clear: (cache) => cache.clear(),
  "an event": (cache) => cache.emit("changed"),
  set: (cache) => cache.set("k", "set"),
};

forEachClient((client) =>
  describe(client, () => {
    const pair = (t) => {
      const here = open(t, server.url, { client });
      const there = open(t, server.url, { client, namespace: here.namespace });
      for (const cache of [here, there]) cache.rules.on("changed", { keys: ["k"] });
      return [here, there];
    };

    for (const [name, invalidate] of Object.entries(INVALIDATIONS)) {
      for (const by of ["the same cache", "another"]) {
        test(`T1: what was loaded before ${name} by ${by} is not stored, and who asks after it does not get it`, async (t) => {
          const [here, there] = pair(t);
          const old = gate("old");
          const loading = here.getOrSet("k", old, { tags: ["t"] });
          await old.begun;
          await invalidate(by === "another" ? there : here);
          const expected = name === "set" ? "set" : "new";
          const after = here.getOrSet("k", () => "new", { tags: ["t"] });
          if (by === "another" || name === "a tag") {
            // Here nobody knows, or cannot tell which loads it concerns: who asks waits for the load, and is not given what it loaded.
            await turn();
            old.release();
          }
          assert.equal(await after, expected);
          old.release();
          assert.equal(await loading, "old");
          for (const cache of [here, there]) assert.equal(await cache.get("k"), expected);
          assert.equal(await there.getOrSet("k", () => assert.fail("it is there"), { tags: ["t"] }), expected);
        });
      }
    }

    test("T1: a refresh that was begun before an invalidation does not bring the value back", async (t) => {
      const [here, there] = pair(t);
      await here.set("k", "first");
      const old = gate("old");
      const refreshing = here.getOrSet("k", old, { forceRefresh: true });
      await old.begun;
      await there.delete("k");
      old.release();
      assert.equal(await refreshing, "old");
      assert.equal(await there.get("k"), undefined);
    });

    test("T2: a load goes on for those who wait when its caller leaves, and ends with the last", async (t) => {
      const [here] = pair(t);
      const load = gate("loaded");
      const [leader, waiter] = [new AbortController(), new AbortController()];
      const left = assert.rejects(here.getOrSet("k", load, { signal: leader.signal }), { name: "AbortError" });
      await load.begun;
      const waits = here.getOrSet("k", () => assert.fail("another loads"));
      const goes = here.getOrSet("k", () => assert.fail("another loads"), { signal: waiter.signal });
      await until("both wait", () => here.stats().misses === 3);
      leader.abort();
      waiter.abort();
      await left;
      await assert.rejects(goes, { name: "AbortError" });
      assert.equal(load.signal.aborted, false);
      load.release();
      assert.equal(await waits, "loaded");
      assert.equal(await here.get("k"), "loaded");
      const last = new AbortController();
      const given = gate("given up");
      const alone = assert.rejects(here.getOrSet("other", given, { signal: last.signal }), { name: "AbortError" });
      await given.begun;
      // For ever, so that it does not end by itself.
      await server.ask("PERSIST", `${here.namespace}:other`);
      last.abort();
      await alone;
      assert.equal(given.signal.aborted, true);
      await until("the lease is given up", async () => (await server.ask("EXISTS", `${here.namespace}:other`)) === 0);
    });

    test("T2: who stops waiting for another process leaves nothing behind", async (t) => {
      const [here, there] = pair(t);
      const load = gate("loaded");
      const loading = there.getOrSet("k", load);
      await load.begun;
      const controller = new AbortController();
      const waits = assert.rejects(
        here.getOrSet("k", () => "mine", { signal: controller.signal }),
        { name: "AbortError" },
      );
      await until("it waits", () => here.stats().misses === 1);
      controller.abort();
      await waits;
      load.release();
      assert.equal(await loading, "loaded");
      assert.equal(await here.getOrSet("k", () => "mine"), "loaded");
      assert.equal(here.stats().flights, 0);
    });

    test("T3: after a loader that failed one load runs at a time", async (t) => {
      const [here] = pair(t);
      let [running, most, calls] = [0, 0, 0];
      const loader = async () => {
        most = Math.max(most, ++running);
        await turn();
        running--;
        if (++calls < 3) throw new Error("not yet");
        return "loaded";
      };
      const all = await Promise.allSettled(Array.from({ length: 20 }, () => here.getOrSet("k", loader)));
      assert.equal(most, 1);
      for (const { status, value, reason } of all)
        assert.equal(status === "fulfilled" ? value : reason.message, status === "fulfilled" ? "loaded" : "not yet");
    });

    test("T4: twenty callers load once, of two caches too", async (t) => {
      const [here, there] = pair(t);
      const load = gate("loaded");
      const all = [here, there].flatMap((cache) => Array.from({ length: 20 }, () => cache.getOrSet("k", load)));
      await until("all look", () => here.stats().misses + there.stats().misses === 40);
      load.release();
      assert.deepEqual(new Set(await Promise.all(all)), new Set(["loaded"]));
      assert.equal(load.calls, 1);
    });

    test("T5 and T18: tags are versions that Redis counts, and leave nothing that grows with the keys", async (t) => {
      const [here, there] = pair(t);
      for (let number = 0; number < 50; number++) await here.set(`k:${number}`, number, { tags: ["t", `own:${number % 2}`] });
      await there.invalidateTags("own:0");
      const left = await here.getMany(Array.from({ length: 50 }, (_, number) => `k:${number}`));
      assert.equal(left.size, 25);
      const fields = await Promise.all(Array.from({ length: 64 }, (_, table) => server.ask("HLEN", `${here.namespace}!t${table}`)));
      assert.ok(fields.reduce((sum, count) => sum + count) < 15);
    });

    test("T7: a pattern is a glob as Redis has it, and matches names to the byte", async (t) => {
      const [here] = pair(t);
      const keys = ["a.b", "axb", "a*b", "a[b]", "a\\b", "ab", "A.B"];
      const left = async (pattern) => {
        await here.setMany(Object.fromEntries(keys.map((key) => [key, 1])));
        await here.invalidatePattern(pattern);
        return keys.filter((_, at) => !found.has(keys[at]));
      };
      let found;
      const removed = async (pattern) => {
        await left(pattern).catch(() => undefined);
        found = await here.getMany(keys);
        return keys.filter((key) => !found.has(key));
      };
      assert.deepEqual(await removed("a.b"), ["a.b"]);
      assert.deepEqual(await removed("a?b"), ["a.b", "axb", "a*b", "a\\b"]);
      assert.deepEqual(await removed("a[.x]b"), ["a.b", "axb"]);
      assert.deepEqual(await removed("a\\*b"), ["a*b"]);
      assert.deepEqual(await removed("a[[]b]"), ["a[b]"]);
      assert.deepEqual(await removed("nothing"), []);
    });

    test("T9: the caller gets the loader's error unchanged, and so does who waits", async (t) => {
      const [here] = pair(t);
      for (const thrown of [new TypeError("mine"), "a text", undefined, null]) {
        let calls = 0;
        const loader = async () => {
          calls++;
          await turn();
          throw thrown;
        };
        const all = await Promise.allSettled([here.getOrSet("k", loader), here.getOrSet("k", loader)]);
        for (const { status, reason } of all) assert.deepEqual([status, reason], ["rejected", thrown]);
        assert.ok(calls <= 2);
      }
      assert.equal(await here.getOrSet("k", () => "after"), "after");
    });

    test("T10: nobody is served what is over in Redis", async (t) => {
      const [here, there] = pair(t);
      await here.set("k", 1, { ttl: 30 });
      await until("it is over in Redis", async () => (await server.ask("EXISTS", `${here.namespace}:k`)) === 0);
      for (const cache of [here, there]) assert.equal(await cache.get("k"), undefined);
    });

    test("T11: null is a value", async (t) => {
      const [here, there] = pair(t);
      let calls = 0;
      const loader = () => {
        calls++;
        return null;
      };
      assert.deepEqual([await here.getOrSet("k", loader), await there.getOrSet("k", loader), await here.get("k")], [null, null, null]);
      assert.equal(calls, 1);
      assert.deepEqual(await here.getMany(["k"]), new Map([["k", null]]));
      assert.equal((await here.lookup("k")).isHit, true);
    });

    test("T12: clear empties this namespace, all of it, and nothing else", async (t) => {
      const [here] = pair(t);
      const near = open(t, server.url, { client, namespace: `${here.namespace}1` });
      await near.set("k", 1);
      await server.ask("SET", `${here.namespace}x`, "1");
      const lock = await here.lock("mine", { ttl: 60_000 });
      for (let from = 0; from < 3_000; from += 1_000) {
        await here.setMany(Object.fromEntries(Array.from({ length: 1_000 }, (_, number) => [`k:${from + number}`, 1])));
      }
      assert.deepEqual(await here.clear(), { count: 3_000, queued: false });
      assert.equal(await near.get("k"), 1);
      assert.equal(await server.ask("GET", `${here.namespace}x`), "1");
      await lock.release();
    });

    test("T13: each reader has a copy of its own", async (t) => {
      const [here] = pair(t);
      const given = { list: [1] };
      await here.set("k", given);
      given.list.push(2);
      (await here.get("k")).list.push(3);
      assert.deepEqual(await here.get("k"), { list: [1] });
      const loaded = { list: [1] };
      const load = gate(() => loaded);
      const [first, second] = [here.getOrSet("l", load), here.getOrSet("l", load)];
      await load.begun;
      load.release();
      (await first).list.push(2);
      (await second).list.push(3);
      loaded.list.push(4);
      assert.deepEqual(await here.get("l"), { list: [1] });
    });

    test("T14: what is no JSON of an envelope is not run", async (t) => {
      const [here] = pair(t);
      await server.ask(
        "SET",
        `${here.namespace}:k`,
        Buffer.from("80049520000000000000008c05706f736978948c0673797374656d9493948c026964948594529" + "42e", "hex"),
      );
      assert.equal(await here.get("k"), undefined);
      assert.equal(await here.getOrSet("k", () => "loaded"), "loaded");
    });

    test("T15: only the holder gives a lock back", async (t) => {
      const [here, there] = pair(t);
      const first = await here.lock("mine", { ttl: 60_000 });
      await server.ask("DEL", `${here.namespace}!{lock:mine}`);
      const second = await there.lock("mine", { ttl: 60_000 });
      assert.ok(second.fence > first.fence);
      await assert.rejects(first.release(), LockLostError);
      assert.equal(await server.ask("EXISTS", `${here.namespace}!{lock:mine}`), 1);
      await second.release();
      await assert.rejects(second.release(), LockLostError);
    });

    test("T17: every option is honoured, or refused", async (t) => {
      const [here, there] = pair(t);
      await here.set("ttl", 1, { ttl: 20 });
      await here.set("grace", "old", { ttl: 20, grace: 60_000 });
      await until("its time is over", async () => (await there.get("ttl")) === undefined);
      await until("it is stale", async () => (await there.explain("grace")).state === "stale");
      assert.equal(await there.get("grace"), "old");
      const failing = there.getOrSet("grace", () => Promise.reject(new Error("down")));
      assert.equal(await failing, "old");
      assert.equal(there.stats().staleOnError, 1);
      const ttls = open(t, server.url, { client, namespace: here.namespace, ttlClasses: { short: "90s" }, defaultTtl: 7_000, jitter: 0.5 });
      await ttls.set("default", 1);
      await ttls.set("class", 1, { ttl: "short" });
      assert.ok((await here.ttl("default")) <= 7_000 && (await here.ttl("default")) > 3_000);
      assert.ok((await here.ttl("class")) <= 90_000 && (await here.ttl("class")) > 40_000);
      await assert.rejects(here.set("k", 1, { ttl: 0 }), InvalidTtlError);
    });

    test("a stale value is refreshed by one process, and the others are served it meanwhile", async (t) => {
      const [here, there] = pair(t);
      await here.set("k", "old", { ttl: 20, grace: 60_000 });
      await until("it is stale", async () => (await here.explain("k")).state === "stale");
      const load = gate("new");
      const refreshing = here.getOrSet("k", load);
      await load.begun;
      assert.equal(await there.getOrSet("k", () => assert.fail("another refreshes")), "old");
      assert.equal(await here.getOrSet("k", () => assert.fail("another refreshes")), "old");
      load.release();
      assert.equal(await refreshing, "new");
      assert.equal(await there.get("k"), "new");
    });

    test("who joins a load after its value was sent reads anew", async (t) => {
      const [here, there] = pair(t);
      const load = gate("loaded");
      const loading = here.getOrSet("k", load);
      await load.begun;
      const waits = here.getOrSet("k", () => "mine");
      await until("it waits", () => here.stats().misses === 2);
      await stillWaits(waits);
      // The lease goes, and nobody here knows: what was loaded may not go to who waits.
      await there.delete("k");
      load.release();
      assert.equal(await loading, "loaded");
      assert.equal(await waits, "mine");
      assert.equal(await there.get("k"), "mine");
      assert.equal(here.stats().loadsRefused, 1);
    });

    test("a loader that asks for its own key loads directly", async (t) => {
      const [here] = pair(t);
      assert.equal(await here.getOrSet("k", async () => `outer ${await here.getOrSet("k", () => "inner")}`), "outer inner");
      assert.equal(await here.get("k"), "outer inner");
    });
  }),
);
