/** One load serves everyone who asks meanwhile; each may leave; errors reach those who wait and nobody else. */
import { UnsupportedValueError } from "donjon";
import { about, byHand, equal, giving, neverRun, now, ok, rejects, turn } from "./case.js";

export const test = about("loads");

class NotFound extends Error {}

test("T4: twenty callers, one load", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const all = Array.from({ length: 20 }, () => it.getOrSet("k", load));
  const call = await load.started(1);
  await turn();
  call.give("v");
  equal(await Promise.all(all), Array(20).fill("v"));
  equal(load.calls.length, 1, "the number of loads");
  equal(it.stats().loads, 1);
});

test("loads of different keys run at once", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const [a, b] = [it.getOrSet("a", load), it.getOrSet("b", load)];
  (await load.started(2)).give("second");
  equal(await b, "second");
  equal(await now(a), "pending");
  (await load.started(1)).give("first");
  equal(await a, "first");
});

test("a loader is told the key, and a signal that is quiet while it is waited for", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const value = it.getOrSet("user:1", load);
  const call = await load.started(1);
  equal(call.key, "user:1");
  ok(call.signal instanceof AbortSignal && !call.signal.aborted, "the signal is quiet");
  call.give(1);
  await value;
  ok(!call.signal.aborted, "the signal stays quiet");
});

test("T9: what the loader throws reaches all who wait as it is, and is not cached", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const all = Array.from({ length: 5 }, () => it.getOrSet("k", load));
  const error = new NotFound("no such user");
  (await load.started(1)).fail(error);
  for (const one of all) ok((await rejects(one, NotFound)) === error, "it is the loader's own error");
  equal(await it.get("k"), undefined);
  equal(await it.getOrSet("k", giving("there")), "there");
  equal(it.stats().loadFailures, 1);
});

test("a loader that throws at once is one that rejects", async ({ cache }) => {
  const it = cache();
  const thrower = () => {
    throw new NotFound("at once");
  };
  await rejects(it.getOrSet("k", thrower), NotFound, /at once/);
  equal(await it.getOrSet("k", giving(1)), 1);
});

test("what is thrown need not be an error", async ({ cache }) => {
  const it = cache();
  for (const thrown of [undefined, null, 0, "text"]) {
    const load = byHand();
    const both = [it.getOrSet("k", load), it.getOrSet("k", load)];
    (await load.started(1)).fail(thrown);
    for (const outcome of await Promise.allSettled(both)) equal(outcome, { status: "rejected", reason: thrown });
    equal(load.calls.length, 1, "the number of loads");
  }
});

test("T3: after a failed load the next runs alone", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const first = it.getOrSet("k", load);
  (await load.started(1)).fail(new NotFound());
  await rejects(first, NotFound);
  const [second, third] = [it.getOrSet("k", load), it.getOrSet("k", load)];
  const call = await load.started(2);
  await turn();
  equal(load.calls.length, 2, "the number of loads");
  call.give("v");
  equal(await second, "v");
  equal(await third, "v");
});

test("a value that cannot be kept is the error of all who wait", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const both = [it.getOrSet("k", load), it.getOrSet("k", load)];
  (await load.started(1)).give(undefined);
  for (const one of both) await rejects(one, UnsupportedValueError);
  equal(await it.getOrSet("k", giving(1)), 1);
});

test("T2: who leads may leave: the load goes on for those who wait, and is stored", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const leader = new AbortController();
  const led = it.getOrSet("k", load, { signal: leader.signal });
  const others = Array.from({ length: 5 }, () => it.getOrSet("k", load));
  const call = await load.started(1);
  await turn();
  leader.abort(new NotFound("the client went away"));
  await rejects(led, NotFound, /went away/);
  ok(!call.signal.aborted, "the load goes on");
  call.give("v");
  equal(await Promise.all(others), Array(5).fill("v"));
  equal(load.calls.length, 1, "the number of loads");
  equal(await it.get("k"), "v");
});

test("T2: who waits may leave, and nobody else notices", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const leaver = new AbortController();
  const led = it.getOrSet("k", load);
  const left = it.getOrSet("k", load, { signal: leaver.signal });
  const call = await load.started(1);
  await turn();
  leaver.abort();
  equal((await rejects(left, Error)).name, "AbortError");
  ok(!call.signal.aborted, "the load goes on");
  call.give("v");
  equal(await led, "v");
});

test("T2: with the last one the load is aborted, and the key is free for the next", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const [first, second] = [new AbortController(), new AbortController()];
  const led = it.getOrSet("k", load, { signal: first.signal });
  const waited = it.getOrSet("k", load, { signal: second.signal });
  const call = await load.started(1);
  await turn();
  first.abort();
  await rejects(led, Error);
  ok(!call.signal.aborted, "one still waits");
  second.abort(new NotFound("the last"));
  await rejects(waited, NotFound);
  ok(call.signal.aborted && call.signal.reason instanceof NotFound, "the load is told why");
  const next = it.getOrSet("k", load);
  const again = await load.started(2);
  call.give("old");
  again.give("new");
  equal(await next, "new");
  equal(await it.get("k"), "new");
});

test("T2: a loader that asks for its signal late hears that nobody waits any more", async ({ cache }) => {
  const it = cache();
  let signalOf;
  const asked = new Promise((resolve) => {
    signalOf = (context) => {
      resolve(() => context.signal);
      return new Promise(() => undefined);
    };
  });
  const leaver = new AbortController();
  const led = it.getOrSet("k", signalOf, { signal: leaver.signal });
  const signal = await asked;
  leaver.abort(new NotFound("gone"));
  await rejects(led, NotFound);
  ok(signal().aborted && signal().reason instanceof NotFound, "it is told why");
});

test("who comes with a signal that has fired is turned away before anything runs", async ({ cache }) => {
  const it = cache();
  await rejects(it.getOrSet("k", neverRun, { signal: AbortSignal.abort(new NotFound("over")) }), NotFound);
  await rejects(it.getOrSetMany(["k"], neverRun, { signal: AbortSignal.abort(new NotFound("over")) }), NotFound);
  await rejects(it.lookup("k", { signal: AbortSignal.abort(new NotFound("over")) }), NotFound);
  equal(it.stats().flights, 0);
});

test("a hit is served though the signal has fired", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  equal(await it.getOrSet("k", neverRun, { signal: AbortSignal.abort() }), 1);
});

test("a load that runs past its limit is taken over, and stores nothing when it ends", async ({ cache }) => {
  const it = cache({ loadTimeout: 20, clock: undefined });
  const hanging = byHand();
  const leader = it.getOrSet("k", hanging);
  await hanging.started(1);
  equal(await Promise.all([it.getOrSet("k", giving("new")), it.getOrSet("k", giving("new"))]), ["new", "new"]);
  equal(await it.get("k"), "new");
  (await hanging.started(1)).give("late");
  equal(await leader, "late");
  equal(await it.get("k"), "new");
});

test("a loader that asks for its own key loads, and does not wait for itself", async ({ cache }) => {
  const it = cache({ loadTimeout: 50 });
  const value = await it.getOrSet("k", async () => [await it.getOrSet("k", () => "inner")]);
  equal(value, ["inner"]);
});

test("a loader that asks for another key, whose loader asks for the first, does not wait for itself", async ({ cache }) => {
  const it = cache({ loadTimeout: 50 });
  const a = () => it.getOrSet("b", async () => `b of ${await it.getOrSet("a", () => "itself")}`);
  equal(await it.getOrSet("a", a), "b of itself");
});

test("a refresh by force loads anew, and its value is what is read then", async ({ cache }) => {
  const it = cache();
  await it.set("k", "old");
  equal(await it.getOrSet("k", giving("new"), { forceRefresh: true }), "new");
  equal(await it.get("k"), "new");
});

test("refreshes by force take nothing that was begun before them, and share what they begin", async ({ cache }) => {
  const it = cache();
  await it.set("k", 0);
  const [first, second] = [byHand(), byHand()];
  const one = it.getOrSet("k", first, { forceRefresh: true });
  const call = await first.started(1);
  const others = Array.from({ length: 3 }, () => it.getOrSet("k", second, { forceRefresh: true }));
  await turn();
  equal(await it.get("k"), 0);
  call.give(1);
  equal(await one, 1);
  (await second.started(1)).give(2);
  equal(await Promise.all(others), [2, 2, 2]);
  equal(second.calls.length, 1, "the number of loads");
  equal(await it.get("k"), 2);
});

test("a refresh that fails leaves the value that is there", async ({ cache }) => {
  const it = cache();
  await it.set("k", "old");
  await rejects(
    it.getOrSet("k", () => Promise.reject(new NotFound()), { forceRefresh: true }),
    NotFound,
  );
  equal(await it.get("k"), "old");
});

test("a load leaves nothing behind, however it ended", async ({ cache }) => {
  const it = cache();
  await it.getOrSet("a", () => 1);
  await rejects(
    it.getOrSet("b", () => Promise.reject(new NotFound())),
    NotFound,
  );
  await rejects(
    it.getOrSet("c", () => undefined),
    UnsupportedValueError,
  );
  const leaver = new AbortController();
  const load = byHand();
  const left = it.getOrSet("d", load, { signal: leaver.signal });
  await load.started(1);
  leaver.abort();
  await rejects(left, Error);
  equal(it.stats().flights, 0);
});
