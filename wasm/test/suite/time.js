/** Values live as long as they were told to, on the cache's own clock; a stale one serves while another is loaded. */
import { FOREVER, ManualClock } from "donjon";
import { about, byHand, equal, giving, neverRun, now, ok, rejects, throws, turn, until } from "./case.js";

export const test = about("time");

class Down extends Error {}

test("T17: a value is there until its time to live ends, however it was stored", async ({ cache, clock }) => {
  const it = cache();
  const stores = {
    set: () => it.set("k", 1, { ttl: 100 }),
    setMany: () => it.setMany({ k: 1 }, { ttl: 100 }),
    add: () => it.add("k", 1, { ttl: 100 }),
    incr: () => it.incr("k", 1, { ttl: 100 }),
    getOrSet: () => it.getOrSet("k", () => 1, { ttl: 100 }),
    getOrSetMany: () => it.getOrSetMany(["k"], () => ({ k: 1 }), { ttl: 100 }),
    fill: async () => (await it.lookup("k")).fill(1, { ttl: 100 }),
    wrap: () => it.wrap(() => 1, { key: () => "k", ttl: 100 })(),
    warm: () => it.warm([["k", 1]], { ttl: 100 }),
  };
  for (const [name, store] of Object.entries(stores)) {
    await store();
    equal(await it.ttl("k"), 100, `the time to live after ${name}`);
    clock.advance(99);
    equal(await it.get("k"), 1, `the value after ${name}`);
    equal(await it.ttl("k"), 1, `the time left after ${name}`);
    clock.advance(1);
    equal(await it.get("k"), undefined, `the value once its time is over after ${name}`);
    equal(it.peek("k"), undefined);
    equal(await it.ttl("k"), undefined);
    equal(await it.exists("k"), false);
  }
});

test("a load's time to live begins when it ends", async ({ cache, clock }) => {
  const it = cache();
  const load = byHand();
  const value = it.getOrSet("k", load, { ttl: 100 });
  const call = await load.started(1);
  clock.advance(90);
  call.give(1);
  await value;
  equal(await it.ttl("k"), 100);
});

test("times are milliseconds, texts, classes of one's own, or for ever", async ({ cache, clock }) => {
  const it = cache({ defaultTtl: "2m", ttlClasses: { report: "1h30m", brief: 5, frozen: FOREVER } });
  const of = async (ttl) => {
    await it.set("k", 1, { ttl });
    return it.ttl("k");
  };
  equal(await of(undefined), 120_000);
  equal(await of(250), 250);
  equal(await of("1h30m"), 5_400_000);
  equal(await of("500ms"), 500);
  equal(await of("7d"), 604_800_000);
  equal(await of("report"), 5_400_000);
  equal(await of("brief"), 5);
  equal(await of("stats"), 60_000);
  equal(await of("config"), 3_600_000);
  equal(await of("user_data"), 300_000);
  equal(await of("frozen"), Infinity);
  equal(await of(FOREVER), Infinity);
  clock.advance(1e12);
  equal(await it.get("k"), 1);
});

test("five minutes is the time to live where nobody names one", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  equal(await it.ttl("k"), 300_000);
});

test("jitter cuts from each time to live, at most its share", async ({ cache }) => {
  const it = cache({ jitter: 0.5 });
  const lives = [];
  for (let at = 0; at < 100; at++) {
    await it.set(`k${at}`, at, { ttl: 1_000 });
    lives.push(await it.ttl(`k${at}`));
  }
  for (const ms of lives) ok(ms >= 500 && ms <= 1_000, `${ms} ms`);
  ok(new Set(lives).size > 50, "they differ");
});

test("a stale value is read until its grace ends", async ({ cache, clock }) => {
  const it = cache();
  await it.set("k", 1, { ttl: 100, grace: 50 });
  clock.advance(149);
  equal(await it.get("k"), 1);
  equal(it.peek("k"), 1);
  equal(await it.getMany(["k"]), new Map([["k", 1]]));
  equal((await it.explain("k")).state, "stale");
  clock.advance(1);
  equal(await it.get("k"), undefined);
  equal(it.peek("k"), undefined);
  equal((await it.explain("k")).state, "absent");
});

test("a stale value is refreshed by one caller, and served to the others meanwhile", async ({ cache, clock }) => {
  const it = cache();
  await it.set("k", "old", { ttl: 100, grace: 1_000 });
  clock.advance(100);
  const load = byHand();
  const elected = it.getOrSet("k", load);
  const call = await load.started(1);
  equal(await it.getOrSet("k", neverRun), "old");
  equal(await now(elected), "pending");
  call.give("new");
  equal(await elected, "new");
  equal(await it.getOrSet("k", neverRun), "new");
});

test("with waitUntil the caller that refreshes is served the stale value as well", async ({ cache, clock }) => {
  const work = [];
  const it = cache({ waitUntil: (promise) => work.push(promise) });
  await it.set("k", "old", { ttl: 100, grace: 1_000 });
  clock.advance(100);
  const load = byHand();
  const leaver = new AbortController();
  equal(await it.getOrSet("k", load, { signal: leaver.signal }), "old");
  leaver.abort();
  const call = await load.started(1);
  equal(call.signal.aborted, false, "the signal of a load whose caller was served");
  equal(work.length, 1);
  call.give("new");
  await Promise.all(work);
  equal(await it.get("k"), "new");
});

test("with waitUntil a refresh that fails is said in the log, and rejects nothing", async ({ cache, clock, logged }) => {
  const work = [];
  const it = cache({ waitUntil: (promise) => work.push(promise) });
  await it.set("k", "old", { ttl: 100, grace: 1_000 });
  clock.advance(100);
  equal(await it.getOrSet("k", () => Promise.reject(new Down())), "old");
  await Promise.all(work);
  equal(it.stats().staleOnError, 1);
  equal(logged.length, 1);
});

test("a load that fails is covered by a stale value within its grace, and said in the log without the value", async ({
  cache,
  clock,
  logged,
}) => {
  const it = cache();
  await it.set("k", "secret", { ttl: 100, grace: 1_000 });
  clock.advance(100);
  equal(await it.getOrSet("k", () => Promise.reject(new Down("it is down"))), "secret");
  equal(it.stats().staleOnError, 1);
  equal(logged.length, 1);
  ok(!logged[0].includes("secret") && logged[0].includes("k"), logged[0]);
  clock.advance(1_000);
  await rejects(
    it.getOrSet("k", () => Promise.reject(new Down("it is down"))),
    Down,
  );
});

test("a load of many that fails is covered by stale values where all have one", async ({ cache, clock }) => {
  const it = cache();
  await it.setMany({ a: 1, b: 2 }, { ttl: 100, grace: 1_000 });
  clock.advance(100);
  const failing = () => Promise.reject(new Down());
  equal(
    await it.getOrSetMany(["a", "b"], failing),
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
  await rejects(it.getOrSetMany(["a", "b", "c"], failing), Down);
});

test("a value is refreshed early the more surely the nearer its end and the longer its load", async ({ cache, clock }) => {
  const it = cache({ early: 1 });
  const slow = () => {
    clock.advance(50);
    return "v";
  };
  let refreshed = 0;
  for (let at = 0; at < 50; at++) {
    await it.getOrSet(`k${at}`, slow, { ttl: 1_000 });
    clock.advance(999);
    const again = giving("new");
    equal(typeof (await it.getOrSet(`k${at}`, again)), "string");
    refreshed += again.count;
  }
  ok(refreshed > 25, `${refreshed} of 50 were refreshed a millisecond before their end`);
});

test("what is over leaves without being read, however it was stored", async ({ cache, clock }) => {
  const it = cache();
  await Promise.all(Array.from({ length: 500 }, (_, at) => it.getOrSet(`k${at}`, () => at, { ttl: 100 })));
  await it.getOrSet("stays", () => 1, { ttl: FOREVER });
  equal(it.size, 501);
  clock.advance(200);
  await until(() => it.size === 1);
  equal(it.stats().expirations, 500);
});

test("a clock that goes back ends nothing early, and breaks nothing", async ({ cache }) => {
  let time = 1e9;
  const it = cache({ clock: { now: () => time } });
  await it.set("k", 1, { ttl: 1_000 });
  time -= 86_400_000;
  equal(await it.get("k"), 1);
  equal(await it.getOrSet("other", () => 2, { ttl: 1_000 }), 2);
  time += 86_400_000 + 999;
  equal(await it.get("k"), 1);
  time += 1;
  equal(await it.get("k"), undefined);
  time += 86_400_000;
  equal(await it.get("other"), undefined);
});

test("the host's clock is used where none is given", async ({ cache }) => {
  const it = cache({ clock: undefined });
  await it.set("k", 1, { ttl: "1h" });
  equal(await it.get("k"), 1);
  await it.set("k", 2, { ttl: 1 });
  await until(() => it.peek("k") === undefined);
});

test("a clock moved by hand goes forward only", async () => {
  const clock = new ManualClock();
  const before = clock.now();
  clock.advance(5);
  equal(clock.now() - before, 5);
  throws(() => clock.advance(-1), RangeError);
  throws(() => clock.advance(Number.NaN), RangeError);
  await turn();
  equal(clock.now() - before, 5);
});
