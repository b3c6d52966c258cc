/** What the cache says of itself: counters, and what is known of a key. */
import { FOREVER } from "donjon";
import { about, byHand, equal, ok, rejects } from "./case.js";

export const test = about("counters");

test("hits, misses, stale hits, loads and what left are counted", async ({ cache, clock }) => {
  const it = cache();
  equal([it.hitRate, it.missRate, it.size], [0, 0, 0]);
  await it.get("k");
  await it.getOrSet("k", () => 1, { ttl: 100, grace: 100 });
  await it.get("k");
  it.peek("k");
  await it.getOrSet("k", () => 2);
  clock.advance(100);
  await it.get("k");
  await rejects(
    it.getOrSet("other", () => Promise.reject(new RangeError())),
    RangeError,
  );
  await it.set("k", 3);
  await it.delete("k");
  const { hits, misses, stale, loads, loadFailures, stores, replacements, invalidations, entries, flights, restarts } = it.stats();
  equal(
    { hits, misses, stale, loads, loadFailures, stores, replacements, invalidations, entries, flights, restarts },
    {
      hits: 3,
      misses: 3,
      stale: 1,
      loads: 2,
      loadFailures: 1,
      stores: 2,
      replacements: 1,
      invalidations: 1,
      entries: 0,
      flights: 0,
      restarts: 0,
    },
  );
  equal(it.hitRate, 4 / 7);
  equal(it.missRate, 3 / 7);
});

test("a caller that joins a load is counted once", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const all = Array.from({ length: 4 }, () => it.getOrSet("k", load));
  (await load.started(1)).give(1);
  await Promise.all(all);
  const { hits, misses, loads } = it.stats();
  equal({ hits, misses, loads }, { hits: 0, misses: 4, loads: 1 });
});

test("the time of loads is counted on the cache's clock", async ({ cache, clock }) => {
  const it = cache();
  await it.getOrSet("k", () => clock.advance(30) ?? 1);
  equal(it.stats().loadTime, 30);
  equal((await it.explain("k")).loadTime, 30);
});

test("counters are set back, and what counts the present stays", async ({ cache }) => {
  const it = cache();
  await it.set("k", "v");
  await it.get("k");
  const { bytes } = it.stats();
  ok(bytes > 0, "it has a weight");
  it.resetStats();
  const stats = it.stats();
  equal([stats.hits, stats.stores, stats.hitRate, stats.entries, stats.bytes], [0, 0, 0, 1, bytes]);
});

test("explain says where a value is, since when, until when, and what it carries", async ({ cache, clock }) => {
  const it = cache();
  await it.getOrSet("k", () => "v", { ttl: 1_000, grace: 500, tags: ["b", "a"] });
  clock.advance(300);
  const { bytes, tags, ...rest } = await it.explain("k");
  ok(bytes > 0, "it has a weight");
  equal([...tags].sort(), ["a", "b"]);
  equal(rest, {
    tier: "memory",
    state: "fresh",
    whyAbsent: undefined,
    age: 300,
    freshFor: 700,
    usableFor: 1_200,
    loadTime: 0,
    loadingFor: undefined,
    removedAgo: undefined,
  });
  await it.set("f", 1, { ttl: FOREVER });
  equal((await it.explain("f")).freshFor, Infinity);
});

test("explain says why there is nothing, and of a load under way since when it runs", async ({ cache, clock }) => {
  const it = cache();
  const never = await it.explain("k");
  equal([never.tier, never.state], [undefined, "absent"]);
  const load = byHand();
  const value = it.getOrSet("k", load);
  const call = await load.started(1);
  clock.advance(40);
  equal((await it.explain("k")).loadingFor, 40);
  call.give(1);
  await value;
  await it.delete("k");
  clock.advance(10);
  const gone = await it.explain("k");
  equal([gone.state, gone.removedAgo], ["absent", 10]);
  ok(/invalidated/.test(gone.whyAbsent), `it was ${gone.whyAbsent}`);
  await it.set("k", 1, { ttl: 5 });
  clock.advance(6);
  ok(/expired/.test((await it.explain("k")).whyAbsent), `it was ${(await it.explain("k")).whyAbsent}`);
});

test("explain and exists count nothing", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  await it.explain("k");
  await it.exists("k");
  await it.ttl("k");
  await it.explain("none");
  const { hits, misses } = it.stats();
  equal([hits, misses], [0, 0]);
});
