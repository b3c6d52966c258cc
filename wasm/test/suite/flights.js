/** How a load can end for those who joined it: what the promises of this language add to the core's decisions. */
import { about, byHand, equal, giving, neverRun, now, ok, rejects, turn } from "./case.js";

export const test = about("flights");

/** A leader and two who joined it. */
async function joined(it, load) {
  const leader = it.getOrSet("k", load);
  const call = await load.started(1);
  const waiting = [it.getOrSet("k", load), it.getOrSet("k", load)];
  await turn();
  equal(load.calls.length, 1, "the number of loads");
  return { leader, call, waiting };
}

test("joined, then deleted: those who wait load anew", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const { leader, call, waiting } = await joined(it, load);
  await it.delete("k");
  const again = await load.started(2);
  call.give("old");
  equal(await leader, "old");
  equal(await now(waiting[0]), "pending");
  again.give("new");
  equal(await Promise.all(waiting), ["new", "new"]);
  equal(load.calls.length, 2, "the number of loads");
  equal(await it.get("k"), "new");
});

test("joined, then set: those who wait get what was set", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const { leader, call, waiting } = await joined(it, load);
  await it.set("k", "set");
  equal(await Promise.all(waiting), ["set", "set"]);
  call.give("old");
  equal(await leader, "old");
  equal(await it.get("k"), "set");
});

test("leader aborted: it goes on for the others, and with the last of them it ends", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const signals = Array.from({ length: 3 }, () => new AbortController());
  const callers = signals.map(({ signal }) => it.getOrSet("k", load, { signal }));
  const call = await load.started(1);
  await turn();
  for (const [at, controller] of signals.entries()) {
    equal(call.signal.aborted, false, `the load's signal before caller ${at} leaves`);
    controller.abort();
    await rejects(callers[at], Error);
  }
  equal(call.signal.aborted, true, "the load's signal after all have left");
});

test("leader aborted, then deleted: nobody is left to load, and nothing is stored", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const leaver = new AbortController();
  const led = it.getOrSet("k", load, { signal: leaver.signal });
  const call = await load.started(1);
  leaver.abort();
  await rejects(led, Error);
  await it.delete("k");
  call.give("old");
  await turn();
  equal(await it.get("k"), undefined);
  equal(load.calls.length, 1, "the number of loads");
});

test("leader failed: all who joined get its error, and the next loads", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const { leader, call, waiting } = await joined(it, load);
  const error = new RangeError("no");
  call.fail(error);
  for (const one of [leader, ...waiting]) ok((await rejects(one, RangeError)) === error, "it is the same error");
  equal(load.calls.length, 1, "the number of loads");
  equal(await it.getOrSet("k", giving("v")), "v");
});

test("fill refused: the leader has what it loaded, those who joined load anew, once", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const leader = it.getOrSet("k", load, { tags: ["t"] });
  const call = await load.started(1);
  const waiting = [it.getOrSet("k", load), it.getOrSet("k", load)];
  await turn();
  await it.invalidateTags("t");
  call.give("old");
  equal(await leader, "old");
  (await load.started(2)).give("new");
  equal(await Promise.all(waiting), ["new", "new"]);
  equal(load.calls.length, 2, "the number of loads");
  equal(it.stats().loadsRefused, 1);
});

test("handed over twice: each who gives up is followed by one who waited", async ({ cache }) => {
  const it = cache();
  const first = await it.lookup("k");
  const rest = [it.lookup("k"), it.lookup("k"), it.getOrSet("k", neverRun)];
  equal(await now(rest[0]), "pending");
  first.abandon();
  const second = await rest[0];
  equal(second.isHit, false);
  equal(await now(rest[1]), "pending");
  second.abandon();
  const third = await rest[1];
  equal(third.isHit, false);
  equal(await now(rest[2]), "pending");
  equal(await third.fill("v"), { value: "v", isStored: true });
  equal(await rest[2], "v");
});

test("handed over to a loader: the one who waited loads for the others", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const miss = await it.lookup("k");
  const waiting = [it.getOrSet("k", load), it.getOrSet("k", load)];
  await turn();
  equal(load.calls.length, 0, "the number of loads");
  miss.abandon();
  (await load.started(1)).give("v");
  equal(await Promise.all(waiting), ["v", "v"]);
  equal(load.calls.length, 1, "the number of loads");
});

test("deleted while it is handed over: whoever comes then loads what is new", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const waiting = it.lookup("k");
  await turn();
  await it.delete("k");
  const next = await waiting;
  equal(await miss.fill("old"), { value: "old", isStored: false });
  equal(await next.fill("new"), { value: "new", isStored: true });
  equal(await it.get("k"), "new");
});

test("the error of a miss reaches those who wait", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const waiting = it.getOrSet("k", neverRun);
  await turn();
  miss.fail(new RangeError("no"));
  await rejects(waiting, RangeError);
});
