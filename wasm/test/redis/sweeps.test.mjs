// What holds for others while a pattern is being swept, and what becomes of a sweep whose process is gone.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { Other, forEachClient, gate, open, proxyTo, start, until } from "./kit.mjs";

/** A record as each language writes it. */
function record(pattern, beat = 0) {
  const numbers = Buffer.alloc(6);
  numbers.writeUInt32BE(beat);
  numbers.writeUInt16BE(pattern.length, 4);
  return Buffer.concat([randomBytes(8), numbers, Buffer.from(pattern)]);
}

/** Writes down that patterns are being swept, which nobody does. */
const writeDown = (server, { namespace }, ...patterns) =>
  server.ask("SET", `${namespace}!p`, Buffer.concat(patterns.map((pattern) => record(pattern))));

forEachClient((client) =>
  describe(client, () => {
    test("what is written down holds for every read at once, and only for what it covers", async (t) => {
      const server = await start(t);
      const cache = open(t, server.url, { client });
      await cache.setMany({ "a:1": 1, "a:2": 2, b: 3 });
      await cache.set("a:tagged", 4, { tags: ["t"] });
      await cache.incr("a:n", 7);
      await writeDown(server, cache, "a:*");
      for (const key of ["a:1", "a:2", "a:tagged", "a:n"]) assert.equal(await cache.get(key), undefined, key);
      assert.equal(await cache.get("b"), 3);
      assert.deepEqual([...(await cache.getMany(["a:1", "b", "a:tagged"]))], [["b", 3]]);
      assert.deepEqual(await Promise.all(["a:1", "b", "a:2"].map((key) => cache.get(key))), [undefined, 3, undefined]);
      assert.equal(await cache.exists("a:1"), false);
      assert.equal(await cache.touch("a:1", "1m"), false);
      assert.equal((await cache.explain("a:1")).state, "absent");
      assert.equal(await cache.add("a:2", 5), true, "there was none any more");
      assert.equal(await cache.get("a:2"), 5);
    });

    test("what is stored and loaded after it is served, and loaded once by all", async (t) => {
      const server = await start(t);
      const [cache, other] = [open(t, server.url, { client, namespace: "app" }), open(t, server.url, { client, namespace: "app" })];
      await cache.set("a", "old");
      await writeDown(server, cache, "*", "a*", "b*");
      // This one has not read the list yet.
      await other.set("b", "by hand");
      assert.deepEqual([await other.get("b"), await cache.get("b")], ["by hand", "by hand"]);
      let calls = 0;
      const loader = async () => {
        calls++;
        await new Promise((resolve) => setTimeout(resolve, 30));
        return "new";
      };
      const all = Array.from({ length: 20 }, (_, at) => [cache, other][at % 2].getOrSet("a", loader));
      assert.deepEqual(new Set(await Promise.all(all)), new Set(["new"]));
      assert.deepEqual([await cache.get("a"), await other.getOrSet("a", loader), calls], ["new", "new", 1]);
      await writeDown(server, cache, "*", "a*", "b*");
      assert.equal(await cache.get("a"), undefined, "these are others, written down since");
    });

    test("a load that began before is served to nobody who asks after", async (t) => {
      const server = await start(t);
      const cache = open(t, server.url, { client });
      const [before, after] = [gate("old"), gate("new")];
      const loading = cache.getOrSet("a", before);
      await before.begun;
      await writeDown(server, cache, "a*");
      const loadingAfter = cache.getOrSet("a", after);
      await after.begun;
      before.release();
      assert.equal(await loading, "old", "who asked before has it");
      after.release();
      assert.equal(await loadingAfter, "new");
      assert.equal(await cache.get("a"), "new");
    });

    test("memory in front drops what is written down, and keeps the rest", async (t) => {
      const server = await start(t);
      for (const near of [true, { broadcast: true }]) {
        const cache = open(t, server.url, { client, limits: { commandTimeout: 10_000, connectTimeout: 10_000, near } });
        await until("it is told", async () => (await cache.ping()) && ["tracking", "fallback"].includes(cache.stats().coherence));
        for (const key of ["a", "b"]) {
          await cache.set(key, key);
          await until("it is kept", async () => (await cache.get(key)) === key && cache.peek(key) === key);
        }
        await writeDown(server, cache, "a*");
        await until("it is told", () => cache.peek("a") === undefined && cache.peek("b") === "b");
        assert.equal(await cache.get("a"), undefined);
        assert.equal(await cache.getOrSet("a", () => "new"), "new");
        await until("what is loaded since is kept", async () => (await cache.get("a")) === "new" && cache.peek("a") === "new");
      }
    });
  }),
);

test("who dies amid a sweep leaves nothing to be served, and another ends it", { timeout: 60_000 }, async (t) => {
  const server = await start(t);
  const proxy = await proxyTo(t, server);
  const cache = open(t, server.url);
  const { namespace } = cache;
  await cache.setMany({ "a:1": 1, b: 2 });
  const process = new Other(proxy.url);
  t.after(() => process.end());
  const other = process.cache({ namespace });
  await other.ask("ready");
  // It is written down, and the other process never hears of it.
  proxy.delay("replies", 500);
  void other.ask("call", "invalidatePattern", "a:*");
  await until("it is written down", async () => (await server.ask("EXISTS", `${namespace}!p`)) === 1);
  proxy.hold("replies");
  assert.deepEqual([await cache.get("a:1"), await cache.get("b")], [undefined, 2]);
  await process.end();
  const since = performance.now();
  while ((await server.ask("EXISTS", `${namespace}!p`)) === 1) {
    assert.ok(performance.now() - since < 30_000, "nobody took it over");
    assert.equal(await cache.get("a:1"), undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(await server.ask("EXISTS", `${namespace}:a:1`), 0);
  assert.deepEqual([await cache.get("a:1"), await cache.get("b")], [undefined, 2]);
});

test("whatever is under the name of the list, sweeps and reads go on", async (t) => {
  const server = await start(t);
  const cache = open(t, server.url);
  const name = `${cache.namespace}!p`;
  const whole = record("z*");
  for (const bad of ["?", Buffer.alloc(200, 0xff), whole.subarray(0, 15), ""]) {
    await server.ask("SET", name, bad);
    await cache.set("a", 1);
    assert.equal(await cache.get("a"), 1);
    assert.deepEqual(await cache.invalidatePattern("a*"), { count: 1, queued: false });
    assert.equal(await cache.get("a"), undefined);
    assert.equal(cache.logged.length, 1, "it is said, and once");
    assert.ok(cache.logged[0].includes(name), cache.logged[0]);
  }
  await server.ask("DEL", name);
  await server.ask("HSET", name, "a", "b");
  await cache.set("a", 1);
  assert.equal(await cache.get("a"), 1);
  assert.deepEqual(await cache.clear(), { count: 1, queued: false });
  assert.equal(await cache.get("a"), undefined);
});
