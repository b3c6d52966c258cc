/** Locks: one holder a name, a number that grows with every holding, and word when it was lost. */
import { ConfigError, InvalidKeyError, InvalidTtlError, LockLostError, LockTimeoutError } from "donjon";
import { about, equal, now, ok, rejects, turn, until } from "./case.js";

export const test = about("locks");

test("one at a time holds a lock, and the next has a higher fence", async ({ cache }) => {
  const it = cache();
  const first = await it.lock("job", { ttl: "1m" });
  equal(first.name, "job");
  equal(first.isHeld, true);
  await rejects(it.lock("job", { ttl: "1m", wait: 0 }), LockTimeoutError);
  const other = await it.lock("other job", { ttl: "1m", wait: 0 });
  await first.release();
  equal(first.isHeld, false);
  const second = await it.lock("job", { ttl: "1m", wait: 0 });
  ok(second.fence > first.fence, `${second.fence} after ${first.fence}`);
  await second.release();
  await other.release();
});

test("who waits has the lock once it is given back, one after another", async ({ cache }) => {
  const it = cache();
  const first = await it.lock("job", { ttl: "1m" });
  const waiting = [it.lock("job", { ttl: "1m" }), it.lock("job", { ttl: "1m" })];
  equal(await now(waiting[0]), "pending");
  await first.release();
  const second = await Promise.race(waiting);
  await turn();
  await second.release();
  const both = await Promise.all(waiting);
  ok(both[0].fence !== both[1].fence, "each held it by itself");
  await both.find((lock) => lock !== second).release();
});

test("who waits is told when it took too long", async ({ cache }) => {
  const it = cache();
  const first = await it.lock("job", { ttl: "1m" });
  await rejects(it.lock("job", { ttl: "1m", wait: 20 }), LockTimeoutError, /job/);
  await first.release();
});

test("who waits may leave", async ({ cache }) => {
  const it = cache();
  const first = await it.lock("job", { ttl: "1m" });
  const leaver = new AbortController();
  const waiting = it.lock("job", { ttl: "1m", signal: leaver.signal });
  await turn();
  leaver.abort(new RangeError("enough"));
  await rejects(waiting, RangeError);
  await rejects(it.lock("job", { ttl: "1m", signal: leaver.signal }), RangeError);
  await first.release();
  await (await it.lock("job", { ttl: "1m", wait: 0 })).release();
});

test("a holder that is gone loses the lock when its time is over", async ({ cache, clock }) => {
  const it = cache();
  const vanished = await it.lock("job", { ttl: "1m" });
  clock.advance(60_000);
  const next = await it.lock("job", { ttl: "1m", wait: 0 });
  ok(next.fence > vanished.fence, "the fence grew");
  await rejects(vanished.release(), LockLostError);
  await rejects(it.lock("job", { ttl: "1m", wait: 0 }), LockTimeoutError);
  await next.release();
});

test("a lock that is extended is held for so long from then, and bad times change nothing", async ({ cache, clock }) => {
  const it = cache();
  const lock = await it.lock("job", { ttl: "1m" });
  clock.advance(50_000);
  await lock.extend("2m");
  for (const ttl of [0, -1, Number.NaN, "soon", Number.POSITIVE_INFINITY, undefined]) await rejects(lock.extend(ttl), InvalidTtlError);
  clock.advance(119_000);
  await rejects(it.lock("job", { ttl: "1m", wait: 0 }), LockTimeoutError);
  clock.advance(1_000);
  await (await it.lock("job", { ttl: "1m", wait: 0 })).release();
  await rejects(lock.extend("1m"), LockLostError);
  ok(lock.lost.aborted, "it is known to be lost");
});

test("a lock is renewed while it is held", async ({ clock, cache }) => {
  let readings = 0;
  const counting = {
    now() {
      readings++;
      return clock.now();
    },
  };
  const it = cache({ clock: counting });
  const lock = await it.lock("job", { ttl: 300 });
  for (let round = 0; round < 3; round++) {
    const before = readings;
    clock.advance(200);
    await until(() => readings > before);
  }
  await rejects(it.lock("job", { ttl: 300, wait: 0 }), LockTimeoutError);
  await lock.release();
});

test("27: a renewal that is refused is told by `lost`, and another's lock is untouched", async ({ cache, clock }) => {
  const it = cache();
  const lock = await it.lock("job", { ttl: 60 });
  ok(!lock.lost.aborted, "it is not lost yet");
  clock.advance(60);
  const next = await it.lock("job", { ttl: "1m", wait: 0 });
  await until(() => lock.lost.aborted);
  ok(lock.lost.reason instanceof LockLostError, "the reason is what happened");
  equal(lock.isHeld, false);
  await rejects(lock.release(), LockLostError);
  equal(next.isHeld, true);
  await rejects(it.lock("job", { ttl: "1m", wait: 0 }), LockTimeoutError);
  await next.release();
});

test("27: a second release is refused, and frees no other's lock", async ({ cache }) => {
  const it = cache();
  const lock = await it.lock("job", { ttl: "1m" });
  await lock.release();
  const next = await it.lock("job", { ttl: "1m", wait: 0 });
  await rejects(lock.release(), LockLostError, /already/);
  await lock[Symbol.asyncDispose]();
  await rejects(it.lock("job", { ttl: "1m", wait: 0 }), LockTimeoutError);
  await next.release();
});

test("27: a lock has a time to live, and not for ever", async ({ cache }) => {
  const it = cache();
  for (const ttl of [0, -1, Number.NaN, Infinity, 1e18, true, null, "0s", "nonsense"])
    await rejects(it.lock("job", { ttl }), InvalidTtlError);
  await rejects(it.lock("job", {}), InvalidTtlError);
  await rejects(it.lock("job"), InvalidTtlError);
  for (const wait of [-1, Number.NaN, "1"]) await rejects(it.lock("job", { ttl: 1_000, wait }), ConfigError);
  await rejects(it.lock("", { ttl: 1_000 }), InvalidKeyError);
  await (await it.lock("job", { ttl: 1_000, wait: 0 })).release();
});

test("a lock is given back at the end of its scope, lost or not", async ({ cache, clock }) => {
  const it = cache();
  const lock = await it.lock("job", { ttl: "1m" });
  await lock[Symbol.asyncDispose]();
  const next = await it.lock("job", { ttl: "1m", wait: 0 });
  clock.advance(60_000);
  await next[Symbol.asyncDispose]();
});

test("locks and values do not meet", async ({ cache }) => {
  const it = cache();
  const lock = await it.lock("k", { ttl: "1m" });
  await it.set("k", 1);
  await it.clear();
  await rejects(it.lock("k", { ttl: "1m", wait: 0 }), LockTimeoutError);
  equal(await it.exists("k"), false);
  await lock.release();
});
