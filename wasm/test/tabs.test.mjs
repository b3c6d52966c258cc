/** Caches in memory in step: in Node, where a cache beside another and one in a worker stand for tabs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { ConfigError, InvalidKeyError, InvalidPatternError, ManualClock, createCache } from "../dist/inline.js";
import { tabs } from "../dist/tabs.js";
import { gate, until } from "./kit.mjs";

let namespaces = 0;

/** Some tabs of a namespace of their own. */
function open(t, count, options = {}) {
  const namespace = `tabs-${++namespaces}`;
  return Array.from({ length: count }, () => {
    const cache = createCache({ namespace, store: tabs(), log: () => undefined, ...options });
    t.after(() => cache.close());
    return cache;
  });
}

/** Resolves when the other has heard all that was said before: what one says arrives in order. */
async function heard(speaker, listener) {
  await listener.set("heard", 1);
  // The listener's own word must have arrived, or it would be taken for an answer.
  await until(() => speaker.peek("heard") === undefined);
  await speaker.delete("heard");
  await until(() => listener.peek("heard") === undefined, "a word of another tab");
}

for (const [what, invalidate] of [
  ["a key", (cache) => cache.delete("user:1")],
  ["keys", (cache) => cache.deleteMany(["x", "user:1"])],
  ["a pattern", (cache) => cache.invalidatePattern("user:*")],
  ["a tag", (cache) => cache.invalidateTags("users")],
  ["everything", (cache) => cache.clear()],
  ["what an event is about", (cache) => cache.emit("user.moved", { id: 1 })],
  ["a key by a new value", (cache) => cache.set("user:1", "new")],
  ["keys by new values", (cache) => cache.setMany({ "user:1": "new" })],
]) {
  test(`who invalidates ${what} invalidates it in every tab, values and loads alike`, async (t) => {
    const [one, other] = open(t, 2);
    for (const cache of [one, other]) cache.rules.on("user.moved", { keys: ["user:{id}"] });
    const loading = gate();
    await other.set("user:1", "old", { tags: ["users"] });
    await heard(other, one);
    assert.equal(other.peek("user:1"), "old");
    await invalidate(one);
    await heard(one, other);
    assert.equal(other.peek("user:1"), undefined);

    let begun = false;
    const loaded = other.getOrSet(
      "user:1",
      async () => {
        begun = true;
        await loading.opened;
        return "old";
      },
      { tags: ["users"] },
    );
    await until(() => begun);
    await invalidate(one);
    await heard(one, other);
    loading.open();
    assert.equal(await loaded, "old");
    assert.equal(other.peek("user:1"), undefined);
  });
}

test("what a tab does not touch stays in the others, and so do those of other namespaces", async (t) => {
  const [one, other] = open(t, 2);
  const [stranger] = open(t, 1);
  await other.setMany({ "user:1": 1, "job:1": 2 });
  await stranger.set("user:1", 3);
  await heard(other, one);
  await one.invalidatePattern("user:*");
  await heard(one, other);
  assert.equal(other.peek("job:1"), 2);
  assert.equal(stranger.peek("user:1"), 3);
});

test("what one tab loads leaves the values of others alone", async (t) => {
  const [one, other] = open(t, 2);
  await one.getOrSet("k", () => "of one");
  await other.getOrSet("k", () => "of other");
  await heard(one, other);
  await heard(other, one);
  assert.equal(one.peek("k"), "of one");
  assert.equal(other.peek("k"), "of other");
});

test("no value is ever said to others", async (t) => {
  const [cache] = open(t, 1);
  const listener = new BroadcastChannel(`donjon!tabs!${cache.namespace}`);
  t.after(() => listener.close());
  const said = [];
  listener.onmessage = ({ data }) => said.push(data);
  await cache.set("k", "secret");
  await cache.getOrSet("l", () => "secret");
  await cache.deleteMany([]);
  await cache.delete("k");
  await until(() => said.length === 2);
  assert.deepEqual(said, [{ keys: ["k"] }, { keys: ["k"] }]);
});

test("what cannot be understood empties the memory", async (t) => {
  const [one, other] = open(t, 2);
  const stranger = new BroadcastChannel(`donjon!tabs!${one.namespace}`);
  t.after(() => stranger.close());
  for (const word of [
    undefined,
    null,
    1,
    {},
    { keys: [1] },
    { keys: [""] },
    { pattern: "" },
    { event: "e", about: 1 },
    { of: "a later release" },
  ]) {
    await one.getOrSet("k", () => 1);
    stranger.postMessage(word);
    await until(() => one.peek("k") === undefined, JSON.stringify(word));
  }
  assert.equal(other.stats().faults, 0);
});

test("an event whose rules another tab cannot follow empties its memory", async (t) => {
  const [one, other] = open(t, 2);
  other.rules.on("moved", { keys: ["user:{name}"] });
  await other.set("k", 1);
  await one.emit("moved", { id: 1 });
  await until(() => other.peek("k") === undefined);
});

test("a tab that is closed says nothing, and hears nothing", async (t) => {
  const [one, other] = open(t, 2);
  await other.set("k", 1);
  await heard(other, one);
  await one.close();
  await other.set("l", 1);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(other.peek("k"), 1);
});

test("a worker is in step with the page", async (t) => {
  const [page] = open(t, 1);
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    Promise.all([import(workerData.inline), import(workerData.tabs)]).then(async ([{ createCache }, { tabs }]) => {
      const cache = createCache({ namespace: workerData.namespace, store: tabs() });
      await cache.set("theirs", 1);
      parentPort.postMessage("ready");
      while (cache.peek("theirs") !== undefined) await new Promise((resolve) => setTimeout(resolve, 1));
      await cache.delete("ours");
      parentPort.postMessage("gone");
      parentPort.once("message", () => parentPort.close());
    });
  `;
  const workerData = {
    namespace: page.namespace,
    inline: new URL("../dist/inline.js", import.meta.url).href,
    tabs: new URL("../dist/tabs.js", import.meta.url).href,
  };
  const worker = new Worker(source, { eval: true, workerData });
  t.after(() => worker.terminate());
  assert.deepEqual(await once(worker, "message"), ["ready"]);
  await page.getOrSet("ours", () => 1);
  await page.delete("theirs");
  assert.deepEqual(await once(worker, "message"), ["gone"]);
  await until(() => page.peek("ours") === undefined);
});

test("the options of a memory hold, as it is one", async (t) => {
  const clock = new ManualClock();
  const [cache] = open(t, 1, { clock, maxEntries: 2, copy: "none" });
  const value = { n: 1 };
  await cache.set("k", value, { ttl: "1s" });
  assert.equal(cache.peek("k"), value);
  clock.advance(1_000);
  assert.equal(cache.peek("k"), undefined);
  await cache.setMany({ a: 1, b: 2, c: 3 });
  assert.equal(cache.size, 2);
});

test("where there are Web Locks, tabs load a key one after the other", async (t) => {
  withLocks(t);
  const [one, other] = open(t, 2);
  const [first, second] = [gate(), gate()];
  const order = [];
  const load = (cache, name, loading) =>
    cache.getOrSet("k", async () => {
      order.push(`${name} begins`);
      await loading.opened;
      order.push(`${name} ends`);
      return name;
    });
  const loads = [load(one, "one", first), load(other, "other", second)];
  await until(() => order.length > 0);
  assert.equal(await other.getOrSet("another", () => "at once"), "at once");
  second.open();
  assert.deepEqual(order, ["one begins"]);
  first.open();
  assert.deepEqual(await Promise.all(loads), ["one", "other"]);
  assert.deepEqual(order, ["one begins", "one ends", "other begins", "other ends"]);
});

test("whoever waits for another tab's load may leave, and a load that fails lets the next one in", async (t) => {
  const held = withLocks(t);
  const [one, other, third] = open(t, 3);
  const loading = gate();
  const failing = one.getOrSet("k", () => loading.opened);
  failing.catch(() => undefined);
  const leaving = new AbortController();
  const left = other.getOrSet("k", () => assert.fail("it has left"), { signal: leaving.signal });
  const waiting = third.getOrSet("k", () => "third");
  leaving.abort(new Error("no more"));
  await assert.rejects(left, /no more/);
  loading.fail(new Error("down"));
  await assert.rejects(failing, /down/);
  assert.equal(await waiting, "third");
  assert.equal(other.stats().flights, 0);
  assert.equal(await other.getOrSet("k", () => "other"), "other");
  assert.equal(held.size, 0);
});

test("loads within each other in two tabs do not wait for each other for ever", async (t) => {
  withLocks(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [one, other] = open(t, 2);
  const both = [gate(), gate()];
  const outer = (cache, mine, theirs, at) =>
    cache.getOrSet(mine, async () => {
      both[at].open();
      await both[1 - at].opened;
      return cache.getOrSet(theirs, () => "inner");
    });
  const loads = Promise.all([outer(one, "a", "b", 0), outer(other, "b", "a", 1)]);
  await Promise.all(both.map(({ opened }) => opened));
  await waitedFor(2);
  t.mock.timers.tick(2_000);
  assert.deepEqual(await loads, ["inner", "inner"]);
});

test("a tab clears its memory when it wakes, and not before", async (t) => {
  const { onWake } = await source("waking.ts");
  t.mock.timers.enable({ apis: ["setInterval"] });
  for (const [what, isAwake, happens] of [
    ["time goes by", false, (host) => host.pass(60_000)],
    ["the device slept", true, (host) => host.sleep(60_000)],
    ["the clock of the wall was set back", true, (host) => host.sleep(-60_000)],
    ["the page was frozen", true, (host) => host.document.dispatchEvent(new Event("resume"))],
    [
      "the page comes back from where the browser put it aside",
      true,
      (host) => host.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true })),
    ],
    [
      "the page is shown for the first time",
      false,
      (host) => host.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false })),
    ],
    ["the page is looked at again", false, (host) => host.show()],
    ["the page is looked at again after the device slept", true, (host) => host.sleep(60_000, false) ?? host.show()],
  ]) {
    const host = new Host();
    let wakes = 0;
    const stop = onWake(() => wakes++, host);
    happens(host);
    if (!what.includes("looked at")) t.mock.timers.tick(1_000);
    assert.equal(wakes > 0, isAwake, what);
    stop();
    wakes = 0;
    host.sleep(60_000);
    host.document.dispatchEvent(new Event("resume"));
    t.mock.timers.tick(5_000);
    assert.equal(wakes, 0, `${what}, and nobody wants to know`);
  }
  const worker = new Host();
  worker.document = undefined;
  let wakes = 0;
  const stop = onWake(() => wakes++, worker);
  worker.pass(4_000);
  t.mock.timers.tick(1_000);
  assert.equal(wakes, 0);
  worker.pass(6_000);
  t.mock.timers.tick(1_000);
  assert.equal(wakes, 1, "a worker that had no turn for so long was frozen with its page");
  stop();
});

test("where there is no BroadcastChannel there are no tabs; what is no argument is refused, and not said", async (t) => {
  const [one, other] = open(t, 2);
  await other.set("k", 1);
  await heard(other, one);
  await assert.rejects(one.delete(""), InvalidKeyError);
  await assert.rejects(one.invalidatePattern(""), InvalidPatternError);
  await assert.rejects(one.set("k", undefined));
  await heard(one, other);
  assert.equal(other.peek("k"), 1);
  const { BroadcastChannel } = globalThis;
  t.after(() => (globalThis.BroadcastChannel = BroadcastChannel));
  delete globalThis.BroadcastChannel;
  assert.throws(() => tabs(), ConfigError);
});

/** A page, as far as waking goes. */
class Host extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  #wall = 1_000_000;
  #monotonic = 0;
  Date = { now: () => this.#wall };
  performance = { now: () => this.#monotonic };

  pass(ms) {
    this.#wall += ms;
    this.#monotonic += ms;
  }

  /** The one clock goes on while the other stands still. */
  sleep(ms) {
    this.#wall += ms;
  }

  show() {
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
}

/** Web Locks, as far as they are used here, and those that are held: Node has them from version 24 on. */
function withLocks(t) {
  const queues = new Map();
  const held = new Set();
  const request = async (name, { signal }, work) => {
    const before = queues.get(name) ?? Promise.resolve();
    const mine = gate();
    queues.set(
      name,
      before.then(() => mine.opened),
    );
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      await Promise.race([before, aborted]);
      held.add(mine);
      return await work();
    } finally {
      held.delete(mine);
      mine.open();
    }
  };
  const had = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { locks: { request } }, configurable: true });
  t.after(() => (had === undefined ? delete globalThis.navigator : Object.defineProperty(globalThis, "navigator", had)));
  return held;
}

/** Lets what is ready go on, so many rounds of it. */
async function waitedFor(rounds) {
  for (let round = 0; round < rounds; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** A module of the package that is not one of its entries. */
async function source(name) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../ts/${name}`, import.meta.url).pathname],
    bundle: true,
    format: "esm",
    write: false,
  });
  return import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
}
