// The faults, T1 to T20 of `../faults.json`, each as a few calls of any library. As in `../scenarios.py`: a scenario returns where the
// fault is not there, perhaps with a word on what was seen; it throws `Fails` where it is, and `NoSuchThing` where nothing could have it.

import { Fails, NoSuchThing, until } from "./library.mjs";

const SOON = 200; // after which whoever has not loaded by itself waits for another's load
const ROUNDS = 20; // of what depends on chance

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** A loader that reads, and then waits to be let go. */
function gate(value) {
  let begin, release;
  const begun = new Promise((resolve) => (begin = resolve));
  const released = new Promise((resolve) => (release = resolve));
  const loader = async () => {
    begin();
    await released;
    return value;
  };
  return Object.assign(loader, { begun, release });
}

const gone = (world, cache, key, limit = world.patience) => until(async () => (await cache.get(key)) === undefined, limit);

function need(cache, call, what) {
  if (cache[call] === undefined) throw new NoSuchThing(what);
}

function needMemoryInFront(world) {
  if (world.backend !== "near") throw new NoSuchThing("no memory in front of Redis");
}

/** How many loads run for so many callers at once. */
async function together(cache, key, callers) {
  let calls = 0;
  const loader = async () => {
    calls++;
    await sleep(20);
    return 1;
  };
  await Promise.all(Array.from({ length: callers }, () => cache.load(key, loader)));
  return calls;
}

async function needSingleFlight(cache) {
  need(cache, "load", "no loads");
  if ((await together(cache, "flight", 5)) > 1) throw new NoSuchThing("nobody waits for another's load, see T4");
}

async function staleFill(world) {
  const cache = await world.open();
  need(cache, "load", "no loads");
  const ways = {
    delete: () => cache.delete("user:delete"),
    invalidatePattern: () => cache.invalidatePattern("user:*"),
    invalidateTag: () => cache.invalidateTag("users"),
    clear: () => cache.clear(),
  };
  const tags = cache.invalidateTag === undefined ? undefined : ["users"];
  const failed = [];
  let broken;
  for (const [name, invalidate] of Object.entries(ways)) {
    if (cache[name] === undefined || (name === "invalidateTag" && cache.loadsCarryTags === false)) continue;
    const key = `user:${name}`;
    const old = gate("old");
    const leader = cache.load(key, old, { tags }).catch((error) => (broken = error));
    await old.begun;
    await invalidate();
    const askedAfter = cache.load(key, async () => "new", { tags }).catch((error) => error);
    await Promise.race([askedAfter, sleep(SOON)]);
    old.release();
    const after = await askedAfter;
    await leader;
    const last = await cache.load(key, async () => "new", { tags });
    if (after === "old" || last === "old") failed.push(name);
  }
  if (failed.length > 0) throw new Fails(`the old value is served after ${failed.join(", ")}`);
  if (broken !== undefined) return `the caller that loads gets an error: ${broken.message}`;
}

async function cancelledLeader(world) {
  const cache = await world.open();
  if (!world.library.cancellable) throw new NoSuchThing("no caller can be cancelled");
  await needSingleFlight(cache);
  const first = gate("first");
  const controller = new AbortController();
  const leader = cache.load("k", first, { signal: controller.signal }).catch(() => undefined);
  await first.begun;
  const waiting = Array.from({ length: 5 }, () => cache.load("k", async () => "second"));
  const settled = Promise.allSettled(waiting);
  await Promise.race([settled, sleep(SOON)]);
  controller.abort();
  await Promise.race([settled, sleep(SOON)]);
  first.release();
  await leader;
  const lost = (await settled).filter(({ status }) => status === "rejected");
  if (lost.length > 0) throw new Fails(`${lost.length} of 5 who waited got ${lost[0].reason.name}`);
}

async function twoLoadsAfterAnError(world) {
  const cache = await world.open();
  await needSingleFlight(cache);
  let running = 0;
  let most = 0;
  const failing = async () => {
    most = Math.max(most, ++running);
    await sleep(2);
    running--;
    throw new RangeError("not yet");
  };
  const insistent = async () => {
    for (let round = 0; round < ROUNDS; round++) await cache.load("k", failing).catch(() => undefined);
  };
  await Promise.all(Array.from({ length: 10 }, insistent));
  if (most > 1) throw new Fails(`up to ${most} loads of one key at once`);
}

async function singleFlight(world) {
  const cache = await world.open();
  need(cache, "load", "no loads");
  const calls = [];
  for (let round = 0; round < ROUNDS; round++) calls.push(await together(cache, `k:${round}`, 20));
  const most = Math.max(...calls);
  if (most > 1) throw new Fails(`up to ${most} loads for 20 callers, in ${calls.filter((one) => one > 1).length} of ${ROUNDS} rounds`);
  if (!world.isShared) return;
  const [one, two] = await world.two();
  const both = (await Promise.all([together(one, "both", 20), together(two, "both", 20)])).reduce((sum, one) => sum + one);
  if (both > 1) return `${both} loads for 20 callers in each of two processes`;
}

async function tagsInSets(world) {
  const cache = await world.open();
  need(cache, "invalidateTag", "no tags");
  await cache.set("long", 1, { tags: ["t"] });
  await cache.set("short", 1, { ttl: 100, tags: ["t"] });
  await gone(world, cache, "short");
  await cache.invalidateTag("t");
  if (!(await gone(world, cache, "long"))) throw new Fails("an entry is missed once another of its tag has expired");
  if (!world.isShared) return;
  for (let number = 0; number < 200; number++) await cache.set(`dead:${number}`, 1, { ttl: 300, tags: ["grows"] });
  await cache.set("last", 1, { tags: ["grows"] });
  for (let number = 0; number < 200; number++) await gone(world, cache, `dead:${number}`);
  let left = 0;
  for (const key of await world.server.ask("KEYS", `*${world.namespace}*`)) left += await members(world.server, key);
  if (left >= 200) throw new Fails("members of entries that are gone stay for as long as the tag does");
}

async function members(server, key) {
  const count = { set: "SCARD", zset: "ZCARD", hash: "HLEN", list: "LLEN" }[await server.ask("TYPE", key)];
  return count === undefined ? 1 : await server.ask(count, key);
}

async function twoWriters(world) {
  needMemoryInFront(world);
  if (world.told === undefined) throw new NoSuchThing("nobody tells its memory of changes");
  const [one, two] = await world.two();
  // Who has just begun may not listen yet.
  let written = 0;
  const isTold = async () => {
    await two.get("begin");
    await one.set("begin", ++written);
    return await until(async () => (await two.get("begin")) === written, 100);
  };
  await until(isTold, world.patience);
  let [apart, round] = [0, 0];
  for (; round < 15 * ROUNDS && apart < world.enough; round++) {
    await Promise.all([one.set("k", `one ${round}`), two.set("k", `two ${round}`)]);
    const agree = async () => (await one.get("k")) === (await two.get("k"));
    if (!(await until(agree, apart > 0 ? 1_000 : world.patience))) apart++;
  }
  if (apart > 0) throw new Fails(`in ${apart} of ${round} rounds each kept its own value`);
}

async function patterns(world) {
  const cache = await world.open();
  need(cache, "invalidatePattern", "no patterns");
  for (const key of ["a.b1", "axb1", "c"]) await cache.set(key, 1);
  await cache.invalidatePattern("a.b*");
  if ((await cache.get("a.b1")) !== undefined) throw new Fails("a.b* leaves a.b1");
  if ((await cache.get("axb1")) === undefined || (await cache.get("c")) === undefined) throw new Fails("a.b* takes axb1 along");
}

async function entityTags() {
  throw new NoSuchThing("nothing for HTTP");
}

async function errors(world) {
  const cache = await world.open();
  need(cache, "load", "no loads");
  const failure = new RangeError("no such user");
  const failing = async () => {
    await sleep(10);
    throw failure;
  };
  let wrapped;
  for (const { status, value, reason } of await Promise.allSettled([1, 2, 3].map(() => cache.load("k", failing)))) {
    if (status === "fulfilled") throw new Fails(`a caller got ${value}`);
    if (reason === failure) continue;
    if (reason.cause !== failure) throw new Fails(`a caller got ${reason}`);
    wrapped = "the loader's error comes as the cause of another";
  }
  return wrapped;
}

async function ttlOfMemoryInFront(world) {
  needMemoryInFront(world);
  const [one, two] = await world.two();
  await one.set("k", 1, { ttl: 1_500 });
  const stored = (await world.server.ask("KEYS", `*${world.namespace}*`)).find((key) => key.endsWith("k"));
  await until(async () => (await world.server.ask("PTTL", stored)) < 500, 3_000);
  // Either may be what fills its memory.
  await two.get("k");
  await two.load("k", async () => 1);
  await until(async () => (await world.server.ask("EXISTS", stored)) === 0, 3_000);
  // What began anew when it was read would have a second left.
  if (!(await gone(world, two, "k", 700))) throw new Fails("it is served after Redis has it no longer");
}

async function cachedNull(world) {
  const cache = await world.open();
  need(cache, "load", "no loads");
  let calls = 0;
  for (let call = 0; call < 3; call++) {
    const value = await cache.load("k", async () => {
      calls++;
      return null;
    });
    if (value !== null) throw new Fails("null does not come back");
  }
  if (calls > 1) throw new Fails(`${calls} loads for 3 calls`);
}

async function clear(world) {
  const cache = await world.open();
  const other = world.isShared ? await world.open("2") : undefined;
  await other?.set("k", 1);
  await world.server?.ask("SET", "foreign", "1");
  for (let number = 0; number < 300; number++) await cache.set(`k:${number}`, number);
  await cache.clear();
  for (let number = 0; number < 300; number++) {
    if ((await cache.get(`k:${number}`)) !== undefined) throw new Fails("some of its own stays");
  }
  if (!world.isShared) return;
  // As somebody new finds it, who has nothing in memory.
  if ((await (await world.open("2")).get("k")) !== 1) throw new Fails("it takes what other namespaces have");
  if ((await world.server.ask("GET", "foreign")) === null) throw new Fails("it takes everything there is in the database");
}

async function mutation(world) {
  const cache = await world.open();
  const seen = [];
  const given = { list: [1] };
  await cache.set("k", given);
  given.list.push(2);
  if ((await cache.get("k")).list.includes(2)) seen.push("what was given");
  (await cache.get("k")).list.push(3);
  if ((await cache.get("k")).list.includes(3)) seen.push("what was read");
  if (cache.load !== undefined) {
    (await cache.load("l", async () => ({ list: [1] }))).list.push(2);
    (await cache.load("l", async () => null)).list.push(3);
    if ((await cache.load("l", async () => null)).list.length > 1) seen.push("what was loaded");
  }
  if (seen.length > 0) throw new Fails(`changing ${seen.join(" or ")} changes the cache`);
}

async function codeOutOfTheCache() {
  throw new NoSuchThing("no codec of these libraries runs code");
}

async function locks(world) {
  const one = await world.open();
  need(one, "lock", "no locks");
  const two = world.isShared ? await world.open() : one;
  // Its locks are held for as long as their holder lives.
  const first = await one.lock("job", 60_000);
  await one.unlock(first);
  const second = await two.lock("job", 60_000);
  await one.unlock(first).catch(() => undefined);
  if ((await one.lock("job", 60_000)) !== undefined) throw new Fails("who lost a lock releases that of the next holder");
  await two.unlock(second);
}

async function toldOfChanges(world) {
  needMemoryInFront(world);
  if (world.told !== "redis") throw new NoSuchThing("Redis does not tell its memory of changes");
  const [reader, writer] = await world.two();
  let [late, round] = [0, 0];
  for (; round < 5 * ROUNDS && late < world.enough; round++) {
    let done = false;
    const reading = (async () => {
      while (!done) {
        await reader.get("k");
        await new Promise(setImmediate);
      }
    })();
    const last = round * 100 + 19;
    for (let value = round * 100; value <= last; value++) await writer.set("k", value);
    done = true;
    await reading;
    if (!(await until(async () => (await reader.get("k")) === last, late > 0 ? 1_000 : world.patience))) late++;
  }
  if (late > 0) throw new Fails(`in ${late} of ${round} rounds an old value stays in memory`);
  await world.server.ask("FLUSHALL");
  if (!(await gone(world, reader, "k"))) throw new Fails("FLUSHALL leaves what memory has");
}

async function ttl(world) {
  const cache = await world.open();
  await cache.set("k", 1, { ttl: 200 });
  if (!(await gone(world, cache, "k"))) throw new Fails("an entry outlives its time to live");
}

async function clocks(world) {
  const [one, two] = await tagged(world);
  await one.set("k", 1, { tags: ["t"] });
  const now = Date.now;
  Date.now = () => now() - 5_000;
  try {
    await two.invalidateTag("t");
  } finally {
    Date.now = now;
  }
  if (!(await gone(world, one, "k"))) throw new Fails("what a host invalidates whose clock is 5 s behind is served all the same");
}

async function tagsAreFollowed(world) {
  const [one, two] = await tagged(world);
  for (let round = 1; round <= 3; round++) {
    await one.set("k", round, { tags: ["t"] });
    await one.get("k");
    await two.invalidateTag("t");
    if (!(await gone(world, one, "k"))) throw new Fails(`the ${round}. invalidation by another process is not noticed`);
  }
}

async function tagged(world) {
  const [one, two] = await world.two();
  need(one, "invalidateTag", "no tags");
  return [one, two];
}

class Point {
  x = 1;
}

async function types(world) {
  const cache = await world.open();
  need(cache, "load", "no loads");
  for (const [key, value] of Object.entries({ point: new Point(), date: new Date(0) })) {
    const missed = await cache.load(key, async () => value);
    const hit = await cache.load(key, async () => value);
    const [before, after] = [missed, hit].map((one) => one.constructor.name);
    if (before !== after) throw new Fails(`a ${before} comes back as ${after}`);
  }
}

export const SCENARIOS = new Map(
  [
    staleFill,
    cancelledLeader,
    twoLoadsAfterAnError,
    singleFlight,
    tagsInSets,
    twoWriters,
    patterns,
    entityTags,
    errors,
    ttlOfMemoryInFront,
    cachedNull,
    clear,
    mutation,
    codeOutOfTheCache,
    locks,
    toldOfChanges,
    ttl,
    clocks,
    tagsAreFollowed,
    types,
  ].map((scenario, at) => [at + 1, scenario]),
);
