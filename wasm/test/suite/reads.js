/** What is stored is read, what is not is told apart from it, and counters and times to live are kept. */
import { FOREVER, NotACounterError, UnsupportedValueError } from "donjon";
import { about, equal, giving, neverRun, ok, rejects, throws } from "./case.js";

export const test = about("reads");

test("a value that was set is read until it is deleted", async ({ cache }) => {
  const it = cache();
  await it.set("user:1", { name: "Ada" });
  equal(await it.get("user:1"), { name: "Ada" });
  equal(it.peek("user:1"), { name: "Ada" });
  equal(await it.exists("user:1"), true);
  equal(await it.delete("user:1"), true);
  equal(await it.get("user:1"), undefined);
  equal(it.peek("user:1"), undefined);
  equal(await it.exists("user:1"), false);
  equal(await it.delete("user:1"), false, "a second delete");
});

test("T11: a cached null is a hit, told apart from a miss", async ({ cache }) => {
  const it = cache();
  const load = giving(null);
  equal(await it.getOrSet("nobody", load), null);
  equal(await it.getOrSet("nobody", load), null);
  equal(load.count, 1, "the number of loads");
  equal(await it.get("nobody"), null);
  equal(it.peek("nobody"), null);
  equal(await it.exists("nobody"), true);
  equal(await it.add("nobody", 1), false);
  equal(await it.getMany(["nobody", "other"]), new Map([["nobody", null]]));
  equal(await it.get("other"), undefined);
});

test("what is falsy is a value as any other", async ({ cache }) => {
  const it = cache();
  for (const value of [false, 0, "", 0n]) {
    await it.set("k", value);
    equal(await it.get("k"), value);
    equal(await it.getOrSet("k", neverRun), value);
  }
});

test("a key without a value is loaded once, and then read", async ({ cache }) => {
  const it = cache();
  const load = giving([1, 2]);
  equal(await it.getOrSet("list", load), [1, 2]);
  equal(await it.getOrSet("list", neverRun), [1, 2]);
  equal(await it.get("list"), [1, 2]);
});

test("getMany gives what is there, in the order it was asked for", async ({ cache }) => {
  const it = cache();
  await it.setMany({ c: 3, a: 1 });
  equal(
    await it.getMany(["a", "b", "c", "a"]),
    new Map([
      ["a", 1],
      ["c", 3],
    ]),
  );
  equal(await it.getMany([]), new Map());
});

test("setMany stores a map or an object, or nothing where one value is refused", async ({ cache }) => {
  const it = cache();
  await it.setMany(new Map([["m", 1]]), { ttl: FOREVER });
  await it.setMany({ o: 2 });
  equal(
    await it.getMany(["m", "o"]),
    new Map([
      ["m", 1],
      ["o", 2],
    ]),
  );
  equal(await it.ttl("m"), Infinity);
  await rejects(it.setMany({ fine: 1, m: 9, bad: Number.NaN }), UnsupportedValueError);
  equal(await it.get("fine"), undefined);
  equal(await it.get("m"), 1);
  await rejects(it.setMany([1]), Error);
  await rejects(it.setMany(null), TypeError);
});

test("add stores where there is nothing, and says whether it did", async ({ cache, clock }) => {
  const it = cache();
  equal(await it.add("once", 1, { ttl: 100 }), true);
  equal(await it.add("once", 2), false);
  equal(await it.get("once"), 1);
  clock.advance(100);
  equal(await it.add("once", 3), true);
  equal(await it.get("once"), 3);
});

test("a counter begins at zero, keeps its time, and refuses what is no whole number", async ({ cache, clock }) => {
  const it = cache();
  equal(await it.incr("hits", 1, { ttl: 1_000 }), 1);
  clock.advance(400);
  equal(await it.incr("hits", 5, { ttl: 9_000 }), 6);
  equal(await it.incr("hits", -2), 4);
  equal(await it.get("hits"), 4);
  equal(await it.ttl("hits"), 600);
  clock.advance(600);
  equal(await it.incr("hits"), 1, "the count once its time is over");
  await it.set("text", "1");
  await rejects(it.incr("text"), NotACounterError);
  equal(await it.get("text"), "1");
  await it.set("half", 0.5);
  await rejects(it.incr("half"), NotACounterError);
  await it.set("most", Number.MAX_SAFE_INTEGER);
  await rejects(it.incr("most"), NotACounterError);
  equal(await it.get("most"), Number.MAX_SAFE_INTEGER);
  for (const by of [0.5, Number.NaN, Infinity, 2 ** 53, "1", 1n, null]) await rejects(it.incr("hits", by), UnsupportedValueError);
  equal(await it.get("hits"), 1);
});

test("a counter is invalidated as any other value", async ({ cache }) => {
  const it = cache();
  await it.incr("count:a", 3);
  equal((await it.invalidatePattern("count:*")).count, 1);
  equal(await it.incr("count:a"), 1);
});

test("touch gives another time to live, from now on", async ({ cache, clock }) => {
  const it = cache();
  await it.set("k", 1, { ttl: 100 });
  clock.advance(60);
  equal(await it.touch("k", 200), true);
  clock.advance(199);
  equal(await it.get("k"), 1);
  clock.advance(1);
  equal(await it.get("k"), undefined);
  equal(await it.touch("k", 200), false);
  equal(await it.touch("other", FOREVER), false);
});

test("a set replaces the value, its time and its tags", async ({ cache, clock }) => {
  const it = cache();
  await it.set("k", "old", { ttl: 50, tags: ["old"] });
  await it.set("k", "new", { ttl: 500 });
  await it.invalidateTags("old");
  clock.advance(60);
  equal(await it.get("k"), "new");
  equal(it.size, 1);
});

test("caches are apart, also where they are called alike", async ({ cache }) => {
  const [one, other] = [cache(), cache()];
  await one.set("k", 1);
  equal(await other.get("k"), undefined);
  await other.set("k", 2);
  await other.clear();
  equal(await one.get("k"), 1);
});

test("many keys at a time are deleted, and those counted that had a value", async ({ cache }) => {
  const it = cache();
  await it.setMany({ a: 1, b: 2, c: 3 });
  equal(await it.deleteMany(["a", "b", "none", "a"]), { count: 2, queued: false });
  equal(await it.getMany(["a", "b", "c"]), new Map([["c", 3]]));
});

test("the numbers of values that left are used again without mixing them up", async ({ cache }) => {
  const it = cache();
  for (let round = 0; round < 50; round++) {
    const all = Array.from({ length: 20 }, (_, at) => [`k${at}`, `${round}:${at}`]);
    await it.setMany(new Map(all));
    for (const [key, value] of all) ok(it.peek(key) === value, `${key} is ${it.peek(key)} in round ${round}`);
    if (round % 3 === 0) await it.deleteMany(["k1", "k3", "k19"]);
    if (round % 7 === 0) await it.clear();
    equal(it.peek("k3"), round % 3 === 0 || round % 7 === 0 ? undefined : `${round}:3`);
  }
});

test("it answers a ping", async ({ cache }) => {
  equal(await cache().ping(), true);
});

test("a loader is a function", async ({ cache }) => {
  const it = cache();
  await rejects(it.getOrSet("k", 5), TypeError);
  await rejects(it.getOrSet("k"), TypeError);
  throws(() => it.wrap(5, { key: () => "k" }), TypeError);
  throws(() => it.wrap(() => 5, { key: "k" }), TypeError);
});
