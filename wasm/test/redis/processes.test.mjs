// What several processes make of one Redis: who loads, who waits, and what becomes of a process that is gone.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Other, forEachClient, gate, open, stillWaits, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
let process;
before(async () => {
  server = await RedisServer.start();
  process = new Other(server.url);
});
after(async () => {
  await process.end();
  await server.close();
});

forEachClient((client) =>
  describe(client, () => {
    const pair = (t, options) => {
      const cache = open(t, server.url, { client, ...options });
      return [cache, process.cache({ client, namespace: cache.namespace, ...options })];
    };

    test("two processes that miss at once load once", async (t) => {
      const [cache, other] = pair(t);
      let calls = 0;
      const here = Promise.all(
        Array.from({ length: 50 }, () =>
          cache.getOrSet("k", async () => {
            calls++;
            await new Promise((resolve) => setTimeout(resolve, 50));
            return "here";
          }),
        ),
      );
      const there = await other.ask("herd", "k", 50, "there");
      const values = new Set([...(await here), ...there.values]);
      assert.equal(values.size, 1);
      assert.equal(calls + there.calls, 1);
    });

    test("who misses while another process loads gets its value", async (t) => {
      const [cache, other] = pair(t);
      await other.ask("load", "k", { from: "there" });
      const waits = cache.getOrSet("k", () => assert.fail("another loads"));
      await stillWaits(waits);
      assert.equal(await cache.get("k"), undefined, "a plain read does not wait");
      await other.ask("finish", "k");
      assert.deepEqual(await waits, { from: "there" });
      assert.equal(cache.stats().loads, 0);
    });

    for (const [name, ...call] of [["delete", "k"], ["invalidatePattern", "k*"], ["invalidateTags", "t"], ["clear"], ["set", "k", "set"]]) {
      test(`what another process met by ${name} while it was loaded is not stored`, async (t) => {
        const [cache, other] = pair(t);
        const load = gate("old");
        const loading = cache.getOrSet("k", load, { tags: ["t"] });
        await load.begun;
        await other.ask("call", name, ...call);
        load.release();
        assert.equal(await loading, "old");
        const expected = name === "set" ? "set" : undefined;
        assert.equal(await cache.get("k"), expected);
        assert.equal((await other.ask("call", "get", "k")) ?? undefined, expected);
      });
    }

    test("a holder that was killed keeps nobody from loading for long", async (t) => {
      const cache = open(t, server.url, { client });
      const other = new Other(server.url);
      t.after(() => other.end());
      await other.cache({ client, namespace: cache.namespace }).ask("load", "k", "never");
      const waits = cache.getOrSet("k", () => "mine");
      await stillWaits(waits);
      await other.end();
      assert.equal(await waits, "mine");
      assert.equal(await cache.get("k"), "mine");
      assert.equal(cache.stats().takeovers, 1);
    });

    test("what is loaded after its lease ran out is not stored", async (t) => {
      const [cache, other] = pair(t);
      await other.ask("load", "k", "late");
      await server.ask("DEL", `${cache.namespace}:k`);
      assert.equal(await cache.getOrSet("k", () => "in time"), "in time");
      assert.equal(await other.ask("finish", "k"), "late");
      assert.equal(await cache.get("k"), "in time");
    });

    test("a lease is renewed for as long as its load runs", async (t) => {
      const [cache] = pair(t);
      const load = gate("slow");
      const loading = cache.getOrSet("k", load);
      await load.begun;
      const name = `${cache.namespace}:k`;
      // Twice it is nearly over, and given more time.
      for (let round = 0; round < 2; round++) {
        await server.ask("PEXPIRE", name, "1500");
        await until("it is renewed", async () => (await server.ask("PTTL", name)) > 1_500);
      }
      load.release();
      assert.equal(await loading, "slow");
      assert.equal(await cache.get("k"), "slow");
    });

    test("leases that come and go do not take each other's renewals along", async (t) => {
      const [cache] = pair(t);
      const first = gate("first");
      const loading = cache.getOrSet("first", first);
      await first.begun;
      first.release();
      // As the value of the first is on its way, the second gets the number of its lease.
      const second = gate("second");
      const other = cache.getOrSet("second", second);
      await loading;
      await second.begun;
      const name = `${cache.namespace}:second`;
      await server.ask("PEXPIRE", name, "1500");
      await until("it is renewed", async () => (await server.ask("PTTL", name)) > 1_500);
      second.release();
      assert.equal(await other, "second");
      assert.equal(await cache.get("second"), "second");
    });

    test("waiting for another process has an end, after which a caller loads and stores nothing", async (t) => {
      const [cache, other] = pair(t, { loadTimeout: 300 });
      await other.ask("load", "k", "there");
      assert.equal(await cache.getOrSet("k", () => "mine"), "mine");
      assert.equal(await cache.get("k"), undefined);
      await other.ask("finish", "k");
      assert.equal(await cache.get("k"), "there");
    });

    test("a lock excludes another process, which has it as soon as it is given back", async (t) => {
      const [cache, other] = pair(t);
      const fence = await other.ask("lock", "mine", { ttl: 60_000 });
      await assert.rejects(cache.lock("mine", { ttl: 1_000, wait: 0 }), { name: "LockTimeoutError" });
      const waits = cache.lock("mine", { ttl: 60_000, wait: 20_000 });
      await until("it listens", async () => (await server.ask("PUBSUB", "NUMSUB", `${cache.namespace}!ch!lock:mine`))[1] === 1);
      await other.ask("release", "mine");
      const lock = await waits;
      assert.ok(lock.fence > fence);
      await lock.release();
    });

    test("a message reaches every process that listens", async (t) => {
      const [cache, other] = pair(t);
      const subscription = cache.subscribe("jobs");
      await until("it listens", async () => (await server.ask("PUBSUB", "NUMSUB", `${cache.namespace}!ch:jobs`))[1] === 1);
      assert.equal(await other.ask("call", "publish", "jobs", { id: 5 }), 1);
      assert.deepEqual((await subscription.next()).value, { channel: "jobs", data: { id: 5 } });
      subscription.close();
    });
  }),
);

test("many callers of many keys in two processes load each once", async (t) => {
  const cache = open(t, server.url);
  const other = process.cache({ namespace: cache.namespace });
  const calls = new Map();
  const keys = Array.from({ length: 40 }, (_, number) => `k:${number}`);
  const there = keys.map((key) => other.ask("herd", key, 5, key));
  const here = keys.map((key) =>
    cache.getOrSet(key, async () => {
      calls.set(key, (calls.get(key) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      return key;
    }),
  );
  const others = await Promise.all(there);
  assert.deepEqual(await Promise.all(here), keys);
  for (const [at, key] of keys.entries()) {
    assert.deepEqual(others[at].values, [key]);
    assert.equal((calls.get(key) ?? 0) + others[at].calls, 1, key);
  }
});
