/** A cache as a driver of unstorage. */
import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { createStorage } from "unstorage";
import { CacheClosedError, ConfigError, InvalidKeyError, InvalidTtlError, createCache } from "../dist/inline.js";
import { indexedDb } from "../dist/indexeddb.js";
import { redis } from "../dist/redis.js";
import { donjonDriver } from "../dist/unstorage.js";
import { RedisServer } from "./redis/server.mjs";

/** The socket of a Redis of the test's own. */
async function ownRedis(t) {
  const server = await RedisServer.start();
  t.after(() => server.close());
  return server.socket;
}

for (const [name, store] of [
  ["memory", () => undefined],
  ["Redis", async (t) => redis(createClient({ socket: { path: await ownRedis(t) } }), { commandTimeout: 10_000, connectTimeout: 10_000 })],
  ["IndexedDB", () => indexedDb("unstorage")],
]) {
  test(`a storage over ${name} does what unstorage says that it does`, async (t) => {
    const cache = createCache({ strict: true, store: await store(t) });
    t.after(() => cache.close());
    const driver = donjonDriver(cache);
    const storage = createStorage({ driver });
    assert.equal(await storage.getItem("users:1"), null);
    await storage.setItem("users:1", { name: "Zoë", list: [1] });
    await storage.setItem("users:2", "text");
    await storage.setItem("users*:3", 3);
    await storage.setItem("usersfile", true);
    await storage.setItemRaw("files:a", Uint8Array.of(0, 255, 1));
    assert.deepEqual(await storage.getItem("users:1"), { name: "Zoë", list: [1] });
    assert.equal(await storage.getItem("users:2"), "text");
    assert.deepEqual(await storage.getItemRaw("files:a"), Uint8Array.of(0, 255, 1));
    assert.equal(await storage.getItemRaw("files:b"), null);
    assert.deepEqual(await storage.getItems(["users:2", "none", "users*:3"]), [
      { key: "users:2", value: "text" },
      { key: "none", value: null },
      { key: "users*:3", value: 3 },
    ]);
    assert.equal(await storage.hasItem("users:1"), true);
    assert.equal(await storage.hasItem("users"), false);
    assert.deepEqual((await storage.getKeys()).sort(), ["files:a", "users*:3", "users:1", "users:2", "usersfile"]);
    assert.deepEqual((await storage.getKeys("users")).sort(), ["users:1", "users:2"]);
    assert.deepEqual(await storage.getKeys("users*"), ["users*:3"]);
    await storage.removeItem("users:2");
    assert.equal(await storage.getItem("users:2"), null);
    // unstorage 1 passes a base on to no driver but one that is mounted beneath it.
    await driver.clear("users*:");
    assert.deepEqual((await storage.getKeys()).sort(), ["files:a", "users:1", "usersfile"]);
    await driver.clear("users");
    assert.deepEqual((await storage.getKeys()).sort(), ["files:a", "usersfile"]);
    await storage.clear();
    assert.deepEqual(await storage.getKeys(), []);
  });
}

test("two storages mounted over one cache keep to their own part of it", async () => {
  const cache = createCache();
  const storage = createStorage({ driver: donjonDriver(cache) });
  storage.mount("mounted", donjonDriver(createCache({ namespace: "mounted" })));
  await storage.setItem("mounted:k", 1);
  await storage.setItem("k", 2);
  assert.deepEqual((await storage.getKeys()).sort(), ["k", "mounted:k"]);
  await storage.clear("mounted");
  assert.deepEqual(await storage.getKeys(), ["k"]);
  assert.equal(await cache.get("k"), "2");
});

test("an item stays for ever, or for the seconds that the driver or a call names", async () => {
  const cache = createCache({ defaultTtl: "1s" });
  const near = async (key, ms) => {
    const left = await cache.ttl(key);
    assert.ok(left > ms - 5_000 && left <= ms, `${key}: ${left}`);
  };
  await createStorage({ driver: donjonDriver(cache) }).setItem("ever", 1);
  assert.equal(await cache.ttl("ever"), Infinity);
  const storage = createStorage({ driver: donjonDriver(cache, { ttl: 60 }) });
  await storage.setItem("usual", 1);
  await storage.setItem("named", 1, { ttl: 120 });
  await storage.setItemRaw("raw", Uint8Array.of(1), { ttl: 180 });
  await near("usual", 60_000);
  await near("named", 120_000);
  await near("raw", 180_000);
});

test("what is no argument is refused, and disposing of the storage closes the cache", async () => {
  for (const bad of [undefined, null, {}, new Map()]) assert.throws(() => donjonDriver(bad), ConfigError);
  const cache = createCache();
  for (const bad of [{ ttl: 0 }, { ttl: "1m" }, { ttl: NaN }, { base: "a" }, null])
    assert.throws(() => donjonDriver(cache, bad), ConfigError);
  const storage = createStorage({ driver: donjonDriver(cache) });
  await assert.rejects(storage.setItem("k".repeat(2_000), 1), InvalidKeyError);
  await assert.rejects(storage.setItem("k", 1, { ttl: -1 }), InvalidTtlError);
  await storage.dispose();
  await assert.rejects(cache.get("k"), CacheClosedError);
});
