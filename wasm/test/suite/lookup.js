/** Lookup and fill: a load that does not fit into a function, under the same rules as one that does. */
import { DonjonError } from "donjon";
import { about, equal, neverRun, now, rejects, turn } from "./case.js";

export const test = about("lookup");

test("a hit has the value, a miss is filled once", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  equal(miss.isHit, false);
  equal(await miss.fill({ a: 1 }, { ttl: 100, tags: ["t"] }), { value: { a: 1 }, isStored: true });
  await rejects(miss.fill({ a: 2 }), DonjonError, /already/);
  const hit = await it.lookup("k");
  equal(hit.isHit, true);
  equal(hit.value, { a: 1 });
  equal(await it.ttl("k"), 100);
  await it.invalidateTags("t");
  equal((await it.lookup("k")).isHit, false);
});

test("others wait until the miss is filled, or given up", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const waiting = it.getOrSet("k", neverRun);
  equal(await now(waiting), "pending");
  await miss.fill("v");
  equal(await waiting, "v");
});

test("a miss that is disposed of is given up", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const waiting = it.lookup("k");
  await turn();
  await miss[Symbol.asyncDispose]();
  const next = await waiting;
  equal(next.isHit, false);
  await next.fill(1);
  await (await it.lookup("k"))[Symbol.asyncDispose]();
  equal(await it.get("k"), 1);
  await rejects(miss.fill(2), Error, /already/);
});

test("a miss that was given up or failed does so once", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  miss.abandon();
  miss.abandon();
  miss.fail(new Error("late"));
  equal(it.stats().flights, 0);
});

test("who waits for a miss may leave", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const leaver = new AbortController();
  const waiting = it.lookup("k", { signal: leaver.signal });
  await turn();
  leaver.abort();
  equal((await rejects(waiting, Error)).name, "AbortError");
  equal((await miss.fill(1)).isStored, true);
});
