/** A cache as a storage adapter of Keyv: Keyv's own suite in full, and what it does not ask. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import Keyv from "keyv";
import { createClient } from "redis";
import { CacheClosedError, ConfigError, createCache } from "../dist/inline.js";
import { DonjonKeyv } from "../dist/keyv.js";
import { kv } from "../dist/kv.js";
import { redis } from "../dist/redis.js";
import { FakeKv } from "./fake-kv.mjs";
import { RedisServer } from "./redis/server.mjs";

/** The socket of a Redis of the test's own. */
async function ownRedis(t) {
  const server = await RedisServer.start();
  t.after(() => server.close());
  return server.socket;
}

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

test("Keyv's suite passes in full, over memory and over Redis", async (t) => {
  const socket = await ownRedis(t);
  const vitest = [path("../node_modules/vitest/vitest.mjs"), "run", "--config", path("keyv/vitest.config.mjs"), "--reporter", "json"];
  const environment = { ...process.env, REDIS_SOCKET: socket, NODE_TEST_CONTEXT: "" };
  const run = promisify(execFile)(process.execPath, vitest, { env: environment, maxBuffer: 2 ** 26 });
  const { stdout } = await run.catch((error) => assert.fail(`${error.stdout}\n${error.stderr}`));
  const { success, numTotalTests, numPassedTests } = JSON.parse(stdout);
  assert.equal(success, true);
  assert.equal(numPassedTests, numTotalTests);
  assert.ok(numTotalTests >= 2 * 42, `${numTotalTests} tests are fewer than the suite has`);
});

for (const [name, store] of [
  ["memory", () => undefined],
  ["Redis", async (t) => redis(createClient({ socket: { path: await ownRedis(t) } }), { commandTimeout: 10_000, connectTimeout: 10_000 })],
  ["KV", () => kv(new FakeKv())],
]) {
  test(`Keyvs of one cache over ${name} have namespaces of their own, whatever these are called`, async (t) => {
    const cache = createCache({ strict: true, store: await store(t) });
    t.after(() => cache.close());
    const open = (namespace) => new Keyv({ store: new DonjonKeyv(cache), namespace, throwOnErrors: true });
    const [star, users, all] = [open("*"), open("users"), open("")];
    for (const keyv of [star, users]) await keyv.set("k", `of ${keyv.namespace}`);
    await users.set("l", null);
    assert.deepEqual(await entries(users), [
      ["k", "of users"],
      ["l", null],
    ]);
    assert.deepEqual(await entries(star), [["k", "of *"]]);
    await star.clear();
    assert.equal(await star.get("k"), undefined);
    assert.equal(await users.get("k"), "of users");
    assert.deepEqual(await users.getMany(["k", "none", "l"]), ["of users", undefined, null]);
    assert.equal(await users.has("l"), true);
    assert.equal(await users.delete("none"), false);
    await new DonjonKeyv(cache).clear();
    assert.deepEqual(await entries(users), []);
    assert.equal(await all.get("users:k"), undefined);
  });
}

test("a value without a time to live stays for ever, and one with it as long as that", async () => {
  const cache = createCache({ defaultTtl: "1s" });
  const keyv = new Keyv({ store: new DonjonKeyv(cache) });
  await keyv.set("ever", 1);
  await keyv.set("short", 1, 60_000);
  assert.equal(await cache.ttl("keyv:ever"), Infinity);
  const left = await cache.ttl("keyv:short");
  assert.ok(left > 50_000 && left <= 60_000, String(left));
});

test("what Keyv has written is kept as it is", async () => {
  const cache = createCache();
  const keyv = new Keyv({ store: new DonjonKeyv(cache) });
  await keyv.set("k", { n: 1 });
  assert.equal(await cache.get("keyv:k"), '{"value":{"n":1}}');
  assert.deepEqual(await keyv.get("k"), { n: 1 });
  assert.deepEqual(
    await new DonjonKeyv(cache).setMany([
      { key: "a", value: "1" },
      { key: "b", value: "2", ttl: 1_000 },
    ]),
    [true, true],
  );
  assert.deepEqual(await new DonjonKeyv(cache).getMany(["a", "none", "b"]), ["1", undefined, "2"]);
  assert.deepEqual(await new DonjonKeyv(cache).hasMany(["a", "none"]), [true, false]);
  assert.equal(await new DonjonKeyv(cache).deleteMany(["a", "none"]), true);
});

test("what is deleted while a Keyv goes through its values is left out", async () => {
  const keyv = new Keyv({ store: new DonjonKeyv(createCache()) });
  for (const key of ["a", "b", "c"]) await keyv.set(key, 1);
  const seen = [];
  for await (const [key] of keyv.iterator()) {
    seen.push(key);
    await keyv.clear();
  }
  assert.equal(seen.length, 1);
});

test("what the cache refuses reaches Keyv as an error, and closing is the end of the cache", async () => {
  const cache = createCache();
  const keyv = new Keyv({ store: new DonjonKeyv(cache) });
  const errors = [];
  keyv.on("error", (error) => errors.push(error.name));
  assert.equal(await keyv.set("k".repeat(2_000), 1), false);
  assert.equal(await keyv.set("k", 1, -1), false);
  assert.deepEqual(errors, ["InvalidKeyError", "InvalidTtlError"]);
  await keyv.disconnect();
  await assert.rejects(cache.get("k"), CacheClosedError);
});

test("what is no cache is refused", () => {
  for (const bad of [undefined, null, {}, new Map(), "redis://"]) assert.throws(() => new DonjonKeyv(bad), ConfigError);
});

async function entries(keyv) {
  const all = [];
  for await (const entry of keyv.iterator()) all.push(entry);
  return all.sort();
}
