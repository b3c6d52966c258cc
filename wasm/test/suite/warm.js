/** Warm: the cache is filled before anybody asks, so many keys at a time. */
import { ConfigError } from "donjon";
import { about, byHand, equal, giving, ok, rejects, turn } from "./case.js";

export const test = about("warm");

test("keys are loaded, those that have a value are skipped, and errors are told by key", async ({ cache }) => {
  const it = cache();
  await it.set("b", "there");
  const progress = [];
  const loader = async ({ key }) => {
    if (key === "c") throw new RangeError("no c");
    return `${key} loaded`;
  };
  const report = await it.warm(["a", "b", "c", "d"], { loader, ttl: 500, tags: ["warm"], onProgress: (done) => progress.push(done) });
  equal([report.loaded, report.skipped], [2, 1]);
  equal([...report.errors.keys()], ["c"]);
  ok(report.errors.get("c") instanceof RangeError, "it is the loader's error");
  equal(progress, [1, 2, 3, 4]);
  equal(
    await it.getMany(["a", "b", "c", "d"]),
    new Map([
      ["a", "a loaded"],
      ["b", "there"],
      ["d", "d loaded"],
    ]),
  );
  equal(await it.ttl("a"), 500);
  await it.invalidateTags("warm");
  equal(await it.get("a"), undefined);
});

test("pairs are stored", async ({ cache }) => {
  const it = cache();
  const report = await it.warm(
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
    { ttl: 500 },
  );
  equal([report.loaded, report.skipped, report.errors.size], [2, 0, 0]);
  equal(
    await it.getMany(["a", "b"]),
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
});

test("so many at a time are loaded as it was told", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const keys = Array.from({ length: 7 }, (_, at) => `k${at}`);
  const warmed = it.warm(keys, { loader: load, concurrency: 3 });
  for (let at = 1; at <= keys.length; at++) {
    const call = await load.started(at);
    await turn();
    equal(load.calls.length, Math.min(at + 2, keys.length), `the number of loads begun before load ${at} ends`);
    call.give(at);
  }
  equal((await warmed).loaded, 7);
});

test("who waits for it may end it: what was not begun is left out", async ({ cache }) => {
  const it = cache();
  const leaver = new AbortController();
  const load = byHand();
  const warmed = it.warm(["a", "b", "c"], { loader: load, concurrency: 1, signal: leaver.signal });
  (await load.started(1)).give(1);
  await load.started(2);
  leaver.abort();
  const report = await warmed;
  equal(report.loaded, 1);
  equal([...report.errors.keys()], ["b"]);
  equal(load.calls.length, 2);
});

test("what it cannot do it says", async ({ cache }) => {
  const it = cache();
  for (const concurrency of [0, -1, 1.5, Number.NaN, "8"]) await rejects(it.warm(["a"], { loader: giving(1), concurrency }), ConfigError);
  const report = await it.warm(["a", "", 5]);
  equal(report.errors.size, 3);
  for (const error of report.errors.values()) ok(error instanceof Error, "each has an error");
});
