/** IndexedDB as a store, in Node: two caches over one database stand for two tabs. */
import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BackendUnavailableError,
  ConfigError,
  FOREVER,
  InvalidKeyError,
  InvalidPatternError,
  InvalidTagError,
  InvalidTtlError,
  LockTimeoutError,
  NotACounterError,
  UnsupportedValueError,
  createCache,
} from "../dist/inline.js";
import { indexedDb } from "../dist/indexeddb.js";
import { gate, listed, until } from "./kit.mjs";

let databases = 0;

/** So many tabs over a database of their own. */
function tabs(t, count, options = {}) {
  const database = `test-${++databases}`;
  const open = (more = {}) => {
    const cache = createCache({ namespace: "app", log: () => undefined, store: indexedDb(database), ...options, ...more });
    t.after(() => cache.close());
    return cache;
  };
  return Object.assign(
    Array.from({ length: count }, () => open()),
    { open, database },
  );
}

test("a value outlasts the cache that stored it, and every tab has it", async (t) => {
  const all = tabs(t, 1);
  await all[0].set("k", { n: 1, list: [null, "ü"] }, { tags: ["t"] });
  await all[0].set("bytes", Uint8Array.of(1, 2, 3), { ttl: FOREVER });
  await all[0].close();
  const later = all.open();
  assert.deepEqual(await later.get("k"), { n: 1, list: [null, "ü"] });
  assert.deepEqual(await later.get("bytes"), Uint8Array.of(1, 2, 3));
  assert.equal(await later.ttl("bytes"), Infinity);
  assert.deepEqual((await later.explain("k")).tags, ["t"]);
  assert.equal((await later.explain("k")).tier, "indexeddb");
  assert.deepEqual(await all.open({ namespace: "other" }).get("k"), undefined);
});

test("tabs that ask at once share one load", async (t) => {
  const [one, other] = tabs(t, 2);
  const loading = gate();
  let loads = 0;
  const loader = async () => {
    loads++;
    await loading.opened;
    return "v";
  };
  const first = one.getOrSet("k", loader);
  await until(() => loads === 1);
  const rest = [one, other, other].map((cache) => cache.getOrSet("k", loader));
  loading.open();
  assert.deepEqual(await Promise.all([first, ...rest]), Array(4).fill("v"));
  assert.equal(loads, 1);
});

for (const [what, invalidate] of [
  ["its key is invalidated", (cache) => cache.delete("user:1")],
  ["a pattern is", (cache) => cache.invalidatePattern("user:*")],
  ["a tag is", (cache) => cache.invalidateTags("users")],
  ["everything is", (cache) => cache.clear()],
]) {
  test(`what one tab loads when ${what} in another is not stored`, async (t) => {
    const [one, other] = tabs(t, 2);
    const loading = gate();
    let begun = false;
    const loaded = one.getOrSet(
      "user:1",
      async () => {
        begun = true;
        await loading.opened;
        return "old";
      },
      { tags: ["users"] },
    );
    await until(() => begun);
    await invalidate(other);
    loading.open();
    assert.equal(await loaded, "old");
    assert.equal(await one.get("user:1"), undefined);
    assert.equal(await other.get("user:1"), undefined);
    assert.equal(await other.getOrSet("user:1", () => "new"), "new");
  });

  test(`a value is served nowhere from the moment that ${what} in any tab`, async (t) => {
    const [one, other] = tabs(t, 2);
    await one.set("user:1", "old", { tags: ["users"] });
    await one.set("kept", 1, { tags: ["kept"] });
    assert.equal(await other.get("user:1"), "old");
    await invalidate(other);
    assert.equal(await one.get("user:1"), undefined);
    if (!what.startsWith("everything")) assert.equal(await one.get("kept"), 1);
  });
}

test("counters count in all tabs at once", async (t) => {
  const said = [];
  const [one, other] = tabs(t, 2, { log: (message) => said.push(message) });
  await Promise.all(Array.from({ length: 50 }, (_, at) => [one, other][at % 2].incr("n", 2)));
  assert.equal(await one.incr("n", -1), 99);
  assert.equal(await other.get("n"), 99);
  await one.set("n", 5);
  assert.equal(await other.incr("n"), 6);
  await one.set("text", "five");
  await assert.rejects(one.incr("text"), NotACounterError);
  await one.set("tagged", 1, { tags: ["t"] });
  assert.equal(await one.incr("tagged"), 2);
  await one.set("dead", 7, { tags: ["t"] });
  await one.invalidateTags("t");
  assert.equal(await one.incr("dead"), 1);
  await one.set("large", Number.MAX_SAFE_INTEGER);
  await assert.rejects(one.incr("large"), NotACounterError);
  assert.deepEqual(said, [], "none of this is the store's fault");
});

test("a counter lives from when it began", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const [one, other] = tabs(t, 2);
  await one.incr("n", 1, { ttl: "1m" });
  t.mock.timers.tick(30_000);
  assert.equal(await other.incr("n", 1, { ttl: "1m" }), 2);
  t.mock.timers.tick(30_000);
  assert.equal(await one.incr("n", 1, { ttl: "1m" }), 1);
});

test("of two tabs that add a value one does", async (t) => {
  const [one, other] = tabs(t, 2);
  const added = await Promise.all([one.add("k", "one"), other.add("k", "other")]);
  assert.deepEqual([...added].sort(), [false, true]);
  assert.equal(await one.get("k"), added[0] ? "one" : "other");
  await one.set("dead", 1, { tags: ["t"] });
  await one.invalidateTags("t");
  assert.equal(await other.add("dead", 2), true);
});

test("a value gets another time to live, and loses it again", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const [one, other] = tabs(t, 2);
  await one.set("k", 1, { ttl: "1s" });
  assert.equal(await other.touch("k", "1m"), true);
  t.mock.timers.tick(30_000);
  assert.equal(await one.get("k"), 1);
  assert.ok(Math.abs((await one.ttl("k")) - 30_000) <= 1);
  t.mock.timers.tick(30_000);
  assert.equal(await one.get("k"), undefined);
  assert.equal(await other.touch("k", "1m"), false);
});

test("a lock is held in one tab at a time, and whoever waits is told that it is free", async (t) => {
  const [one, other] = tabs(t, 2);
  const held = await one.lock("l", { ttl: "1m" });
  await assert.rejects(other.lock("l", { ttl: "1m", wait: 0 }), LockTimeoutError);
  const waiting = other.lock("l", { ttl: "1m", wait: 60_000 });
  await held.release();
  const next = await waiting;
  assert.ok(next.fence > held.fence);
  await next.release();
});

test("messages reach every tab", async (t) => {
  const [one, other] = tabs(t, 2);
  const here = one.subscribe("jobs");
  const there = other.subscribe("jobs");
  await one.ping();
  await other.ping();
  await one.publish("jobs", { n: 1 });
  assert.deepEqual((await here.next()).value, { channel: "jobs", data: { n: 1 } });
  assert.deepEqual((await there.next()).value, { channel: "jobs", data: { n: 1 } });
});

test("keys are those of values that match, and not of loads under way", async (t) => {
  const all = tabs(t, 2);
  const [one, other] = all;
  await one.setMany({ "user:1": 1, "user:2": 2, used: 3, "a\uffffb": 4 });
  await all.open({ namespace: "app2" }).set("user:3", 1);
  const found = await one.lookup("user:4");
  assert.deepEqual(await listed(other), ["a\uffffb", "used", "user:1", "user:2"]);
  assert.deepEqual(await listed(other, "user:*"), ["user:1", "user:2"]);
  assert.deepEqual(await listed(other, "a\uffff*"), ["a\uffffb"]);
  found.abandon();
  assert.equal((await other.invalidatePattern("user:*")).count, 2);
  assert.deepEqual(await listed(one), ["a\uffffb", "used"]);
});

test("what is over is removed from the database without being read", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const all = tabs(t, 1);
  await all[0].setMany(Object.fromEntries(Array.from({ length: 1_200 }, (_, at) => [`k${at}`, at])), { ttl: "1s" });
  await all[0].set("kept", 1, { ttl: "1h" });
  await all[0].close();
  t.mock.timers.tick(1_001);
  await all.open().ping();
  await until(async () => (await rawNames(all.database)).length === 1, "an empty database");
  assert.deepEqual(await rawNames(all.database), ["app:kept"]);
});

test("where there is no room for a value, its key is invalidated instead", async (t) => {
  const all = tabs(t, 1);
  const [cache] = all;
  await cache.setMany({ k: "old", other: "old" });
  const put = IDBObjectStore.prototype.put;
  t.mock.method(IDBObjectStore.prototype, "put", function (row) {
    const request = put.call(this, row);
    if (!(row.value.length > 1_000)) return request;
    // As browsers do: the transaction is broken off, and says why.
    for (const failing of [request, this.transaction]) {
      Object.defineProperty(failing, "error", { get: () => new DOMException("no room", "QuotaExceededError"), set: () => undefined });
    }
    this.transaction.abort();
    return request;
  });
  const large = "x".repeat(1_000);
  await cache.set("k", large);
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.get("other"), "old");
  await assert.rejects(all.open({ strict: true }).set("other", large), BackendUnavailableError);
  assert.equal(await cache.get("other"), undefined);
  assert.equal(await cache.getOrSet("loaded", () => large), large);
  assert.deepEqual(await rawNames(all.database), [], "nobody waits for what did not fit");
  assert.equal(await cache.getOrSet("loaded", () => "small"), "small");
  assert.equal(await cache.get("loaded"), "small");
});

test("a database that is deleted is a cache that was cleared", async (t) => {
  const all = tabs(t, 1);
  const [cache] = all;
  await cache.set("k", "old");
  await new Promise((resolve, reject) =>
    Object.assign(indexedDB.deleteDatabase(all.database), { onsuccess: resolve, onerror: reject, onblocked: reject }),
  );
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "new"), "new");
  assert.equal(await cache.get("k"), "new");
});

test("where the database cannot be opened, reads miss and loaders run", async (t) => {
  t.mock.method(indexedDB, "open", () => {
    throw new DOMException("not in this mode", "SecurityError");
  });
  const [cache] = tabs(t, 1);
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "v"), "v");
  assert.equal(await cache.ping(), false);
  assert.deepEqual(await cache.deleteMany(["k"]), { count: 0, queued: true });
  await assert.rejects(cache.incr("n"), (error) => error instanceof BackendUnavailableError && !/redis/i.test(error.message));
});

test("a table that has too many tags forgets the older half, and brings no value back by it", async (t) => {
  const all = tabs(t, 2);
  const [one, other] = all;
  const [first, ...many] = tagsOfTable(3, 2_100);
  await one.set("dead", 1, { tags: [first] });
  await other.invalidateTags(first);
  for (let at = 0; at < many.length; at += 50) await other.invalidateTags(...many.slice(at, at + 50));
  const table = (await rawRow(all.database, "app!t3")).value;
  assert.ok(table.size < 1_500 && !table.has(first), `${table.size} fields`);
  assert.equal(await one.get("dead"), undefined);
  await one.set("alive", 1, { tags: [first] });
  assert.equal(await other.get("alive"), 1);
  await other.invalidateTags(first);
  assert.equal(await one.get("alive"), undefined);
});

/** So many tags that are kept in one table: `table_of` in `core/src/remote/name.rs`. */
function tagsOfTable(table, count) {
  const isIn = (tag) => {
    let hash = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(tag)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x0100000001b3n);
    return Number((hash ^ (hash >> 32n)) % 64n) === table;
  };
  const tags = [];
  for (let at = 0; tags.length < count; at++) if (isIn(`tag${at}`)) tags.push(`tag${at}`);
  return tags;
}

test("what is no argument is refused", async (t) => {
  for (const bad of [undefined, null, "", 1, {}]) assert.throws(() => indexedDb(bad), ConfigError);
  for (const bad of [{ commandTimeout: 0 }, { maxValueBytes: "1" }, { ttl: 1 }, null, "d"])
    assert.throws(() => indexedDb("d", bad), ConfigError);
  for (const bad of [{ maxBytes: 1_000 }, { maxEntries: 1 }, { copy: "freeze" }, { clock: { now: () => 0 } }]) {
    assert.throws(() => createCache({ store: indexedDb("d"), ...bad }), ConfigError);
  }
  const [cache] = tabs(t, 1);
  await assert.rejects(cache.get(""), InvalidKeyError);
  await assert.rejects(cache.set("k", undefined), UnsupportedValueError);
  await assert.rejects(cache.set("k", 1, { ttl: 0 }), InvalidTtlError);
  await assert.rejects(cache.set("k", 1, { tags: [""] }), InvalidTagError);
  await assert.rejects(cache.invalidatePattern(""), InvalidPatternError);
  await assert.rejects(listed(cache, ""), InvalidPatternError);
  await assert.rejects(cache.lock("l", {}), InvalidTtlError);
});

/** The names of all rows, as they are in the database. */
function rawNames(database) {
  return raw(database, (rows) => rows.getAllKeys());
}

function rawRow(database, name) {
  return raw(database, (rows) => rows.get(name));
}

async function raw(database, ask) {
  const answered = (request) =>
    new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: reject }));
  const opened = await answered(indexedDB.open(database));
  const found = await answered(ask(opened.transaction("rows").objectStore("rows")));
  opened.close();
  return found;
}
