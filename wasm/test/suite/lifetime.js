/** A cache is switched off and on, closed, and bounded. */
import { CacheClosedError, createCache } from "donjon";
import { about, byHand, equal, giving, neverRun, notEqual, ok, rejects, throws, turn } from "./case.js";

export const test = about("lifetime");

test("switched off, reads miss, loaders run and stores are dropped", async ({ cache }) => {
  const it = cache();
  await it.set("k", "old");
  it.enabled = false;
  equal(it.enabled, false);
  equal(await it.get("k"), undefined);
  equal(it.peek("k"), undefined);
  equal(await it.exists("k"), false);
  equal(await it.getMany(["k"]), new Map());
  const load = giving("loaded");
  equal(await it.getOrSet("k", load), "loaded");
  equal(await it.getOrSet("k", load), "loaded");
  equal(load.count, 2, "the number of loads");
  await it.set("new", 1);
  equal(await it.add("added", 1), false);
  it.enabled = true;
  equal(await it.get("new"), undefined);
  equal(await it.get("added"), undefined);
});

test("what was invalidated while it was switched off is gone when it is on again", async ({ cache }) => {
  const it = cache();
  await it.setMany({ "a:1": 1, b: 2, c: 3, d: 4 });
  await it.set("e", 5, { tags: ["t"] });
  it.enabled = false;
  await it.set("c", "newer");
  await it.delete("b");
  await it.invalidatePattern("a:*");
  await it.invalidateTags("t");
  it.enabled = true;
  equal(await it.getMany(["a:1", "b", "c", "d", "e"]), new Map([["d", 4]]));
});

test("it can be born switched off", async ({ cache }) => {
  const it = cache({ enabled: false });
  await it.set("k", 1);
  equal(it.enabled, false);
  equal(it.size, 0);
  it.enabled = true;
  await it.set("k", 1);
  equal(it.size, 1);
});

test("closed, it answers nothing any more, and says so", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  const load = byHand();
  const running = it.getOrSet("loading", load);
  const call = await load.started(1);
  await it.close();
  await it.close();
  const calls = {
    get: () => it.get("k"),
    getMany: () => it.getMany(["k"]),
    exists: () => it.exists("k"),
    ttl: () => it.ttl("k"),
    explain: () => it.explain("k"),
    getOrSet: () => it.getOrSet("k", neverRun),
    getOrSetMany: () => it.getOrSetMany(["k"], neverRun),
    lookup: () => it.lookup("k"),
    set: () => it.set("k", 1),
    setMany: () => it.setMany({ k: 1 }),
    add: () => it.add("k", 1),
    incr: () => it.incr("k"),
    touch: () => it.touch("k", 5),
    delete: () => it.delete("k"),
    deleteMany: () => it.deleteMany(["k"]),
    invalidatePattern: () => it.invalidatePattern("k*"),
    invalidateTags: () => it.invalidateTags("t"),
    clear: () => it.clear(),
    emit: () => it.emit("event"),
    lock: () => it.lock("k", { ttl: 5 }),
    publish: () => it.publish("k", 1),
    warm: () => it.warm([["k", 1]]),
  };
  for (const [name, ask] of Object.entries(calls)) {
    const error = await rejects(ask(), Error).catch((wrong) => {
      throw new Error(`${name}: ${wrong.message}`);
    });
    ok(error instanceof CacheClosedError, `${name} threw ${error}`);
  }
  throws(() => it.peek("k"), CacheClosedError);
  throws(() => it.subscribe("k"), CacheClosedError);
  equal(await it.ping(), false);
  call.give("v");
  equal(await running, "v", "what the load under way gives its caller");
});

test("a cache is closed at the end of its scope", async () => {
  const one = createCache();
  await one[Symbol.asyncDispose]();
  await rejects(one.get("k"), CacheClosedError);
  const other = createCache();
  other[Symbol.dispose]();
  await rejects(other.get("k"), CacheClosedError);
});

test("no more values are kept than the bound on their number", async ({ cache }) => {
  const it = cache({ maxEntries: 100 });
  for (let at = 0; at < 1_000; at++) await it.set(`k${at}`, at);
  ok(it.size <= 100 && it.size > 50, `${it.size} are kept`);
  ok(it.stats().evictions >= 900, `${it.stats().evictions} were evicted`);
  let found = 0;
  for (let at = 0; at < 1_000; at++) {
    const value = it.peek(`k${at}`);
    if (value === undefined) continue;
    equal(value, at);
    found++;
  }
  equal(found, it.size);
});

test("no more bytes are kept than the bound on them, and what is larger is not kept at all", async ({ cache }) => {
  const maxBytes = 100_000;
  const it = cache({ maxBytes });
  for (let at = 0; at < 200; at++) {
    await it.set(`k${at}`, "x".repeat(2_000));
    ok(it.stats().bytes <= maxBytes, `${it.stats().bytes} bytes`);
  }
  ok(it.size > 10, `${it.size} are kept`);
  await it.set("large", "old");
  await it.set("large", "x".repeat(200_000));
  equal(await it.get("large"), undefined);
  notEqual(it.stats().tooLarge, 0, "the number of those too large");
  equal((await it.getOrSet("large", () => "x".repeat(200_000))).length, 200_000);
  ok(it.stats().bytes <= maxBytes, `${it.stats().bytes} bytes`);
});

test("what is read stays, and what is not read leaves first", async ({ cache }) => {
  const it = cache({ maxEntries: 50 });
  await it.set("often", 1);
  for (let at = 0; at < 2_000; at++) {
    it.peek("often");
    await it.set(`once${at}`, at);
  }
  equal(await it.get("often"), 1);
});

test("values that were evicted are let go of", async ({ cache }) => {
  if (globalThis.gc === undefined) return;
  const it = cache({ maxEntries: 1, copy: "none" });
  const gone = await (async () => {
    const value = { large: true };
    await it.set("a", value);
    return new WeakRef(value);
  })();
  await it.delete("a");
  await turn();
  globalThis.gc();
  equal(gone.deref(), undefined);
});
