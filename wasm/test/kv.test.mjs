/** Cloudflare KV as a store: within one process all holds as in memory, whatever KV shows meanwhile. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BackendUnavailableError,
  ConfigError,
  FOREVER,
  InvalidKeyError,
  InvalidPatternError,
  InvalidTtlError,
  UnsupportedOperationError,
  createCache,
} from "../dist/inline.js";
import { kv } from "../dist/kv.js";
import { FakeKv } from "./fake-kv.mjs";
import { gate, listed, until } from "./kit.mjs";

function open(t, { namespace = new FakeKv(), kv: kvOptions, ...options } = {}) {
  const said = [];
  const cache = createCache({ ...options, namespace: "app", store: kv(namespace, kvOptions), log: (message) => said.push(message) });
  t.after(() => cache.close());
  return { cache, namespace, said };
}

test("a value is kept for those who come later, in this process and in others", async (t) => {
  const { cache, namespace } = open(t);
  await cache.set("k", { n: 1, list: [null, "ü"] });
  await cache.set("bytes", Uint8Array.of(1, 2, 3));
  assert.deepEqual(await cache.get("k"), { n: 1, list: [null, "ü"] });
  const other = open(t, { namespace: namespace.elsewhere() }).cache;
  assert.deepEqual(await other.get("k"), { n: 1, list: [null, "ü"] });
  assert.deepEqual(await other.get("bytes"), Uint8Array.of(1, 2, 3));
  assert.deepEqual(await other.getMany(["k", "absent"]), new Map([["k", { n: 1, list: [null, "ü"] }]]));
  assert.equal(await other.exists("k"), true);
  const ttl = await other.ttl("k");
  assert.ok(ttl > 0 && ttl <= 300_000, String(ttl));
  assert.equal((await other.explain("k")).tier, "kv");
  assert.equal((await other.explain("absent")).state, "absent");
});

test("a value that was just stored is served though KV does not show it yet", async (t) => {
  const namespace = new FakeKv();
  namespace.isLate = true;
  const { cache } = open(t, { namespace });
  await cache.set("k", 1);
  assert.equal(namespace.shown.size, 0);
  assert.equal(await cache.get("k"), 1);
  assert.deepEqual(await listed(cache), ["k"]);
});

test("many who ask at once share one load, and what it gives is stored", async (t) => {
  const { cache, namespace } = open(t);
  const loading = gate();
  let loads = 0;
  const loader = async () => {
    loads++;
    await loading.opened;
    return "v";
  };
  const all = Array.from({ length: 20 }, () => cache.getOrSet("k", loader));
  await until(() => loads === 1);
  assert.equal(namespace.written.size, 0, "a load under way is nobody else's business");
  loading.open();
  assert.deepEqual(await Promise.all(all), Array(20).fill("v"));
  assert.equal(loads, 1);
  assert.ok(namespace.written.has("app:k"));
  assert.equal(await open(t, { namespace: namespace.elsewhere() }).cache.getOrSet("k", () => assert.fail("it is there")), "v");
});

for (const [what, invalidate] of [
  ["its key is invalidated", (cache) => cache.delete("user:1")],
  ["a pattern is", (cache) => cache.invalidatePattern("user:*")],
  ["everything is", (cache) => cache.clear()],
  ["an event says so", (cache) => cache.rules.on("moved", { patterns: ["user:{id}*"] }) && cache.emit("moved", { id: 1 })],
]) {
  test(`what is being loaded when ${what} is not stored`, async (t) => {
    const { cache, namespace } = open(t);
    const loading = gate();
    let begun = false;
    const loaded = cache.getOrSet("user:1", async () => {
      begun = true;
      await loading.opened;
      return "old";
    });
    await until(() => begun);
    await invalidate(cache);
    loading.open();
    assert.equal(await loaded, "old");
    assert.equal(await cache.get("user:1"), undefined);
    assert.equal(namespace.written.has("app:user:1"), false);
    assert.equal(await cache.getOrSet("user:1", () => "new"), "new");
  });

  test(`what KV still shows when ${what} is not served in this process`, async (t) => {
    const namespace = new FakeKv();
    await open(t, { namespace: namespace.elsewhere() }).cache.set("user:1", "old");
    const { cache } = open(t, { namespace });
    assert.equal(await cache.get("user:1"), "old");
    namespace.isLate = true;
    await invalidate(cache);
    assert.ok(namespace.shown.has("app:user:1"), "KV shows it still");
    assert.equal(await cache.get("user:1"), undefined);
    assert.equal(await cache.exists("user:1"), false);
    assert.equal(await cache.getOrSet("user:1", () => "new"), "new");
    assert.equal(await cache.get("user:1"), "new");
    assert.deepEqual(await listed(cache), ["user:1"]);
  });
}

test("what KV did not list when a pattern was invalidated is not served once it shows", async (t) => {
  const namespace = new FakeKv();
  namespace.isLate = true;
  await open(t, { namespace: namespace.elsewhere() }).cache.set("user:1", "old");
  const { cache } = open(t, { namespace });
  await cache.invalidatePattern("user:*");
  namespace.settle();
  assert.equal(await cache.get("user:1"), undefined);
  await cache.set("user:1", "new");
  assert.equal(await cache.get("user:1"), "new");
  namespace.settle();
  assert.equal(await cache.get("other"), undefined);
});

test("a read that was on its way when its key was invalidated does not bring the value back", async (t) => {
  const namespace = new FakeKv();
  await open(t, { namespace: namespace.elsewhere() }).cache.set("k", "old");
  namespace.isLate = true;
  const { cache } = open(t, { namespace });
  await cache.ping();
  const reading = gate();
  namespace.before.get = () => reading.opened;
  const read = cache.get("k");
  await until(() => namespace.log.includes("get app:k"));
  await cache.set("k", "new");
  reading.open();
  assert.equal(await read, "new");
});

test("an invalidation is said after a write that is on its way, so that KV forgets what that one brings", async (t) => {
  const { cache, namespace } = open(t);
  const writing = gate();
  namespace.before.put = () => writing.opened;
  const set = cache.set("k", "v");
  await until(() => namespace.log.includes("put app:k"));
  const deleted = cache.delete("k");
  // It has all that it needs to go on, but for its turn.
  for (let round = 0; round < 5; round++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(namespace.log.includes("delete app:k"), false);
  writing.open();
  await Promise.all([set, deleted]);
  assert.equal(namespace.written.has("app:k"), false);
  assert.ok(namespace.log.indexOf("delete app:k") > namespace.log.indexOf("put app:k"));
  assert.equal(await cache.get("k"), undefined);
});

test("once KV has caught up with what this process wrote, it is believed again", async (t) => {
  const { cache, namespace } = open(t);
  await cache.set("k", "mine");
  await cache.set("gone", "mine");
  await cache.delete("gone");
  await cache.clear();
  await cache.set("k", "mine");
  const other = open(t, { namespace: namespace.elsewhere() }).cache;
  await other.setMany({ k: "theirs", gone: "theirs" });
  assert.equal(await cache.get("k"), "mine");
  assert.equal(await cache.get("gone"), undefined);
  const now = performance.now.bind(performance);
  t.mock.method(performance, "now", () => now() + 90_000);
  await cache.set("other", 1);
  assert.equal(await cache.get("k"), "theirs");
  assert.equal(await cache.get("gone"), "theirs");
});

test("a value that does not arrive becomes an invalidation of its key", async (t) => {
  const { cache, namespace } = open(t);
  await cache.set("k", "old");
  namespace.before.put = () => Promise.reject(new Error("KV PUT failed: 500"));
  await cache.set("k", "new");
  assert.equal(await cache.get("k"), undefined);
  assert.equal(namespace.written.has("app:k"), false);
  const strict = open(t, { namespace: namespace.elsewhere(), strict: true }).cache;
  await assert.rejects(strict.set("k", "new"), BackendUnavailableError);
});

test("an invalidation that does not arrive waits; until it has, nothing is believed that KV says", async (t) => {
  const { cache, namespace } = open(t);
  await cache.set("k", "old");
  namespace.before.delete = () => Promise.reject(new Error("KV DELETE failed: 429 Too Many Requests"));
  assert.deepEqual(await cache.deleteMany(["k"]), { count: 0, queued: true });
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "new"), "new");
  delete namespace.before.delete;
  await until(() => !namespace.written.has("app:k"), "the invalidation");
  await until(
    async () => (await cache.getOrSet("k", () => "newer")) === "newer" && namespace.written.has("app:k"),
    "a value to be stored again",
  );
});

test("where KV fails to read, loaders run", async (t) => {
  const { cache, namespace } = open(t);
  namespace.before.get = () => Promise.reject(new Error("KV GET failed: 500"));
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "v"), "v");
  assert.equal(await cache.ttl("k"), undefined);
  assert.equal((await cache.explain("k")).whyAbsent, "kv failed: Error: KV GET failed: 500");
  namespace.before.list = namespace.before.get;
  await assert.rejects(listed(cache), (error) => error instanceof BackendUnavailableError && !/redis/i.test(error.message));
  assert.ok(cache.stats().faults > 0);
});

test("KV is told to keep a value for a minute at least, and it is over when it is over", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const { cache, namespace } = open(t);
  await cache.set("short", 1, { ttl: "1s" });
  await cache.set("long", 1, { ttl: "5m", grace: "1m" });
  await cache.set("ever", 1, { ttl: FOREVER });
  assert.deepEqual(
    [...namespace.options],
    [
      ["app:short", { expirationTtl: 60 }],
      ["app:long", { expirationTtl: 360 }],
      ["app:ever", {}],
    ],
  );
  assert.equal(await cache.get("short"), 1);
  t.mock.timers.tick(1_000);
  assert.equal(await cache.get("short"), undefined);
  assert.equal(await cache.get("long"), 1);
  const other = open(t, { namespace: namespace.elsewhere() }).cache;
  assert.equal(await other.get("short"), undefined);
  assert.equal(await other.getOrSet("short", () => 2), 2);
  assert.equal(await other.ttl("ever"), Infinity);
});

test("a stale value is served where its refresh fails, and what is over is loaded anew", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const { cache } = open(t);
  await cache.set("k", "old", { ttl: "1s", grace: "1m" });
  t.mock.timers.tick(2_000);
  const fails = () => Promise.reject(new Error("down"));
  assert.equal(await cache.getOrSet("k", fails), "old");
  t.mock.timers.tick(60_000);
  await assert.rejects(cache.getOrSet("k", fails), /down/);
  assert.equal(await cache.getOrSet("k", () => "new"), "new");
});

test("what is no entry is loaded anew", async (t) => {
  const { cache, namespace } = open(t);
  await namespace.put("app:k", Uint8Array.of(0xc1, 0x44, 1, 2, 3));
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "v"), "v");
  assert.equal(await cache.get("k"), "v");
});

test("a pattern removes what matches it, and nothing else, by listing what begins as it does", async (t) => {
  const { cache, namespace } = open(t);
  const keys = ["user:1", "user:2", "user:3", "user:10:a", "used", "User:1"];
  await cache.setMany(Object.fromEntries(keys.map((key) => [key, 1])));
  await namespace.put("other:user:1", Uint8Array.of(1));
  namespace.log.length = 0;
  assert.equal((await cache.invalidatePattern("user:?")).count, 3);
  assert.equal(namespace.log[0], "list app:user:");
  assert.deepEqual(await listed(cache), ["User:1", "used", "user:10:a"]);
  assert.deepEqual((await listed(cache, "use*")).sort(), ["used", "user:10:a"]);
  await cache.clear();
  assert.deepEqual(await listed(cache), []);
  assert.deepEqual([...namespace.written.keys()], ["other:user:1"]);
});

test("an operation that does not end keeps nobody waiting, and what it was to remove is removed when it has", async (t) => {
  const { cache, namespace } = open(t, { kv: { commandTimeout: 100 } });
  await cache.set("k", "old");
  const hanging = gate();
  // What hangs would keep the process alive by itself, were it not in it.
  const alive = setInterval(() => undefined, 1_000);
  t.after(() => clearInterval(alive));
  namespace.before.get = () => hanging.opened;
  assert.equal(await cache.get("other"), undefined);
  assert.equal(await cache.getOrSet("other", () => "loaded"), "loaded");
  namespace.before.delete = namespace.before.get;
  assert.deepEqual(await cache.deleteMany(["k"]), { count: 0, queued: true });
  hanging.open();
  await until(() => !namespace.written.has("app:k"));
  await until(
    async () => (await cache.getOrSet("k", () => "new")) === "new" && namespace.written.has("app:k"),
    "a value to be stored again",
  );
});

test("a pattern may take longer than an operation, as long as something moves", async (t) => {
  const { cache, namespace, said } = open(t, { kv: { commandTimeout: 100 } });
  await cache.setMany(Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`user:${at}`, at])));
  let turn = Promise.resolve();
  namespace.before.delete = () => (turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, 5))));
  assert.deepEqual(await cache.invalidatePattern("user:*"), { count: 100, queued: false });
  assert.deepEqual(said, []);
});

test("caches of one process over one binding know what each of them has changed", async (t) => {
  const namespace = new FakeKv();
  namespace.isLate = true;
  const [one, other] = [open(t, { namespace }).cache, open(t, { namespace }).cache];
  await one.set("k", "new");
  assert.equal(await other.get("k"), "new");
  namespace.settle();
  await other.delete("k");
  assert.equal(await one.get("k"), undefined);
  const loading = gate();
  let loads = 0;
  const loader = async () => {
    loads++;
    await loading.opened;
    return "loaded";
  };
  const first = one.getOrSet("k", loader);
  await until(() => loads === 1);
  const second = other.getOrSet("k", loader);
  loading.open();
  assert.deepEqual(await Promise.all([first, second]), ["loaded", "loaded"]);
  assert.equal(loads, 1);
});

test("what KV cannot do is refused, and said in the capabilities", async (t) => {
  const { cache } = open(t);
  assert.deepEqual(cache.capabilities, { reach: "process", locks: false, conditions: false, tags: false, messages: false });
  const found = await cache.lookup("late");
  let loads = 0;
  for (const [what, call] of Object.entries({
    lock: () => cache.lock("l", { ttl: "1s" }),
    add: () => cache.add("k", 1),
    incr: () => cache.incr("k"),
    touch: () => cache.touch("k", "1m"),
    "set with tags": () => cache.set("k", 1, { tags: ["t"] }),
    "setMany with tags": () => cache.setMany({ k: 1 }, { tags: ["t"] }),
    "getOrSet with tags": () => cache.getOrSet("k", () => loads++, { tags: ["t"] }),
    "getOrSetMany with tags": () => cache.getOrSetMany(["k"], () => ({ k: loads++ }), { tags: ["t"] }),
    "fill with tags": () => found.fill(1, { tags: ["t"] }),
    invalidateTags: () => cache.invalidateTags("t"),
    "emit to tags": () => cache.rules.on("e", { tags: ["t"] }) && cache.emit("e"),
    publish: () => cache.publish("c", 1),
  })) {
    await assert.rejects(call, UnsupportedOperationError, what);
  }
  assert.throws(() => cache.subscribe("c"), UnsupportedOperationError);
  assert.equal(loads, 0);
  assert.equal(await cache.getOrSet("late", () => "free again"), "free again");
});

test("what is no argument is refused, and nothing is asked of KV", async (t) => {
  for (const bad of [undefined, null, {}, "CACHE", { get() {}, put() {}, delete() {} }]) assert.throws(() => kv(bad), ConfigError);
  for (const bad of [
    { commandTimeout: 0 },
    { commandTimeout: "1" },
    { maxValueBytes: -1 },
    { maxValueBytes: 2 ** 30 },
    { comandTimeout: 1 },
    null,
    1,
  ]) {
    assert.throws(() => kv(new FakeKv(), bad), ConfigError);
  }
  for (const bad of [{ maxBytes: 1_000 }, { maxEntries: 1 }, { copy: "none" }, { clock: { now: () => 0 } }]) {
    assert.throws(() => createCache({ store: kv(new FakeKv()), ...bad }), ConfigError);
  }
  const { cache, namespace } = open(t);
  await assert.rejects(cache.get(""), InvalidKeyError);
  await assert.rejects(cache.get("k".repeat(509)), InvalidKeyError);
  await assert.rejects(cache.set("ü".repeat(255), 1), InvalidKeyError);
  await assert.rejects(cache.set("k", 1, { ttl: -1 }), InvalidTtlError);
  await assert.rejects(cache.invalidatePattern(""), InvalidPatternError);
  assert.throws(() => cache.keys(1), InvalidPatternError);
  await assert.rejects(listed(cache, ""), InvalidPatternError);
  assert.deepEqual(namespace.log, []);
  await cache.set("k".repeat(508), 1);
  assert.equal(await cache.get("k".repeat(508)), 1);
});
