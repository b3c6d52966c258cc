// The store over Upstash's REST API, in Node: a server of ours speaks the protocol in front of a real Redis.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { inspect } from "node:util";

import { createClient } from "redis";

import { ConfigError, LockTimeoutError, UnsupportedOperationError, createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { upstash } from "../../dist/upstash.js";
import { RedisServer, until } from "../redis/server.mjs";
import { RestServer, TOKEN } from "./rest-server.mjs";

let server;
let rest;
let said;
let open;

before(async () => {
  server = await RedisServer.start();
});
after(() => server.close());
beforeEach(async () => {
  await server.ask("FLUSHALL");
  rest = await RestServer.start(server);
  said = [];
  open = [];
});
afterEach(async () => {
  rest.meddle = () => undefined;
  for (const cache of open) await cache.close();
  await rest.end();
});

const opened = (options) => {
  const cache = createCache({ namespace: "app", log: (message) => said.push(message), ...options });
  open.push(cache);
  return cache;
};
const store = (options) => upstash({ url: rest.url, token: TOKEN, commandTimeout: 10_000, ...options });
const edge = (options, at) => opened({ store: store(at), ...options });
const node = () => opened({ store: redis(createClient({ url: server.url }), { commandTimeout: 10_000, connectTimeout: 10_000 }) });
const raw = (...words) => server.askBytes(...words);
const asked = () => rest.requests.splice(0);

const ALL_BYTES = Uint8Array.from({ length: 1_024 }, (_, at) => (at * 7) & 255);
const VALUES = {
  bytes: ALL_BYTES,
  nothing: new Uint8Array(),
  text: '100 % – %41 "quoted" \\ \u0000\u0001\u007f\u0080\ufeff 🏰',
  nested: { name: "Ünïcode", list: [1, null, { deep: "%%" }] },
  ok: "OK",
};

/** What a loader gives once something was done. */
async function afterwards(act, value) {
  await act();
  return value;
}

test("a server that takes bodies for text breaks bytes that are put into them as they are", async () => {
  const naive = Buffer.from([0xff, 0xfe, 0x80]).toString("latin1");
  const ask = (body) => fetch(rest.url, { method: "POST", headers: { Authorization: `Bearer ${TOKEN}` }, body });
  await ask(JSON.stringify(["SET", "naive", naive]));
  assert.notDeepEqual(await raw("GET", "naive"), Buffer.from([0xff, 0xfe, 0x80]));
  await ask(Buffer.concat([Buffer.from('["SET","naive","'), Buffer.from([0xff, 0xfe, 0x80]), Buffer.from('"]')]));
  assert.notDeepEqual(await raw("GET", "naive"), Buffer.from([0xff, 0xfe, 0x80]));
});

test("every byte of a value arrives, and is read the same over a client of Redis", async () => {
  const [here, there] = [edge(), node()];
  for (const [name, value] of Object.entries(VALUES)) {
    await here.set(`there:${name}`, value);
    await there.set(`here:${name}`, value);
    assert.deepEqual(await there.get(`there:${name}`), value);
    assert.deepEqual(await here.get(`here:${name}`), value);
    assert.deepEqual(await here.get(`there:${name}`), value);
    assert.deepEqual(await here.getOrSet(`loaded:${name}`, () => value), value);
    assert.deepEqual(await there.get(`loaded:${name}`), value);
    const [one, other] = await Promise.all(["there", "here"].map((from) => raw("GET", `app:${from}:${name}`)));
    assert.deepEqual(one.subarray(40), other.subarray(40), "the same bytes but for the token and times of the header");
  }
  const many = await here.getMany([...Object.keys(VALUES).map((name) => `here:${name}`), "absent"]);
  assert.deepEqual(Object.fromEntries(many), Object.fromEntries(Object.entries(VALUES).map(([name, value]) => [`here:${name}`, value])));
});

test("keys of any letters are what they are over a client of Redis", async () => {
  const [here, there] = [edge(), node()];
  for (const key of ["100%", "%41", "a b\r\n\u0000", "{x}*?[y]\\", "🏰:ß", '"']) {
    await here.set(key, key);
    assert.equal(await there.get(key), key);
    assert.equal(await there.delete(key), true);
    assert.equal(await here.get(key), undefined);
  }
});

test("a load is refused that was under way when another process invalidated its key, its pattern or its tag", async () => {
  const [here, there] = [edge(), node()];
  for (const invalidate of [
    () => there.delete("k"),
    () => there.invalidatePattern("k*"),
    () => there.invalidateTags("t"),
    () => there.clear(),
  ]) {
    const before = here.stats().loadsRefused;
    const value = await here.getOrSet("k", () => afterwards(invalidate, "old"), { tags: ["t"] });
    assert.equal(value, "old");
    assert.equal(here.stats().loadsRefused, before + 1);
    assert.equal(await there.get("k"), undefined);
  }
  for (const invalidate of [
    () => here.delete("k"),
    () => here.invalidatePattern("k*"),
    () => here.invalidateTags("t"),
    () => here.clear(),
  ]) {
    const before = there.stats().loadsRefused;
    await there.getOrSet("k", () => afterwards(invalidate, "old"), { tags: ["t"] });
    assert.equal(there.stats().loadsRefused, before + 1);
    assert.equal(await here.get("k"), undefined);
    await there.set("k", "new", { tags: ["t"] });
    assert.equal(await here.get("k"), "new");
    await invalidate();
    assert.equal(await there.get("k"), undefined);
  }
});

test("who asks meanwhile waits for a load that another process runs", async () => {
  const [here, there] = [edge(), node()];
  const { promise: loading, resolve: isLoading } = withResolvers();
  const { promise: loaded, resolve: finish } = withResolvers();
  const first = there.getOrSet("k", () => afterwards(isLoading, loaded));
  await loading;
  rest.requests.length = 0;
  const second = here.getOrSet("k", () => assert.fail("loaded twice"));
  await until("it waits", () => rest.requests.length >= 3);
  finish("once");
  assert.deepEqual(await Promise.all([first, second]), ["once", "once"]);
});

test("counters, conditions, times to live and locks are those of the others", async () => {
  const [here, there] = [edge(), node()];
  assert.equal(await here.add("a", ALL_BYTES), true);
  assert.equal(await there.add("a", 2), false);
  assert.equal(await here.add("a", 2), false);
  assert.equal(await here.incr("n", 5), 5);
  assert.equal(await there.incr("n", -2), 3);
  assert.equal(await here.get("n"), 3);
  await there.set("m", 41);
  assert.equal(await here.incr("m"), 42);
  assert.equal(await here.touch("a", "1h"), true);
  assert.ok((await there.ttl("a")) > 3_000_000);
  assert.equal(await here.touch("absent", "1h"), false);
  assert.deepEqual((await here.explain("a")).tier, "redis");
  assert.equal(await here.ping(), true);
  await here.setMany({ x: 1, y: 2 });
  assert.deepEqual(await here.deleteMany(["x", "y", "z"]), { count: 2, queued: false });
});

test("a lock is waited for by asking again, as nobody can be told that it is free", async () => {
  const [here, there] = [edge(), node()];
  const held = await there.lock("l", { ttl: 60_000 });
  await assert.rejects(here.lock("l", { ttl: 60_000, wait: 0 }), LockTimeoutError);
  rest.requests.length = 0;
  const waiting = here.lock("l", { ttl: 60_000 });
  await until("it waits", () => rest.requests.length >= 2);
  await held.release();
  const mine = await waiting;
  assert.ok(mine.fence > held.fence);
  await mine.release();
});

test("messages go out, and none can be listened to", async () => {
  const [here, there] = [edge(), node()];
  assert.equal(here.capabilities.messages, false);
  assert.throws(() => here.subscribe("c"), UnsupportedOperationError);
  const inbox = there.subscribe("c");
  const first = inbox.next();
  await until("it is heard", async () => (await here.publish("c", { bytes: "ä%" })) > 0);
  assert.deepEqual((await first).value.data, { bytes: "ä%" });
  inbox.close();
});

test("a hit is one request, also for a cache that is made anew over the same store", async () => {
  const shared = store();
  const first = opened({ store: shared });
  await first.set("k", 1);
  asked();
  assert.equal(await first.get("k"), 1);
  assert.equal(await first.getOrSet("k", () => 2), 1);
  assert.deepEqual(asked().length, 2);
  const second = opened({ store: shared });
  assert.equal(await second.get("k"), 1);
  assert.deepEqual(await second.getMany(["k", "absent"]), new Map([["k", 1]]));
  assert.equal(asked().length, 2);
});

test("a sweep takes everything that matches, also names that are no text", async () => {
  const here = edge();
  for (let at = 0; at < 3_000; at += 1_000) {
    await raw("MSET", ...Array.from({ length: 1_000 }, (_, number) => [`app:p:${at + number}`, "x"]).flat());
  }
  await raw("SET", Buffer.from("app:p:\xff", "latin1"), "x");
  await raw("SET", "other:p:1", "x");
  await here.invalidatePattern("p:*");
  assert.deepEqual((await raw("KEYS", "*")).map(String), ["other:p:1"]);
});

test("what a replica has not heard of yet is not served, unless the nearest is asked", async () => {
  const replica = await RedisServer.start();
  try {
    await rest.end();
    rest = await RestServer.start(server, replica);
    const [here, near] = [edge(), edge({}, { reads: "nearest" })];
    await here.set("k", "old", { tags: ["t"] });
    await replica.replicaOf(server);
    await until("the value is there", async () => (await replica.ask("EXISTS", "app:k")) === 1);
    await replica.ask("REPLICAOF", "NO", "ONE");
    await node().delete("k");
    assert.equal(await here.get("k"), undefined);
    assert.deepEqual(await here.getMany(["k"]), new Map());
    assert.equal(await here.getOrSet("k", () => "new"), "new");
    assert.equal(await near.get("k"), "old");
  } finally {
    await replica.close();
  }
});

test("the nearest replica is told how far the primary had come when it answered last", async () => {
  const near = edge({}, { reads: "nearest" });
  const told = [];
  await near.delete("k");
  rest.meddle = ({ headers }) => void told.push(headers["upstash-sync-token"]);
  await near.get("k");
  await near.get("k");
  assert.match(told[0], /^v\d+$/);
  assert.equal(told[1], told[0], "what a replica says of itself is not what the next one has to wait for");
  await near.delete("k");
  await near.get("k");
  assert.notEqual(told.at(-1), told[0]);
});

test("a request that is not answered in time is given up, not repeated, and the server left alone", async () => {
  const here = edge({}, { commandTimeout: 500 });
  await here.get("k");
  asked();
  let isGone = false;
  rest.meddle = ({ request }) => {
    request.socket.on("close", () => (isGone = true));
    return "hang";
  };
  assert.equal(await here.getOrSet("k", () => 1), 1);
  assert.equal(asked().length, 1);
  await until("the request is given up", () => isGone);
});

test("what is under way when a cache is closed is given up", async () => {
  const here = edge({}, { commandTimeout: 600_000 });
  await here.get("k");
  let isGone = false;
  const { promise: begun, resolve: begin } = withResolvers();
  rest.meddle = ({ request }) => {
    request.socket.on("close", () => (isGone = true));
    begin();
    return "hang";
  };
  const reading = here.get("k");
  await begun;
  await here.close();
  assert.equal(await reading, undefined);
  await until("the request is given up", () => isGone);
});

test("a request that hangs is given up though others are answered all the time", async () => {
  const here = edge({}, { commandTimeout: 200 });
  await here.set("quick", 1);
  rest.meddle = ({ commands }) => (commands[0].includes("app:k") ? "hang" : undefined);
  let isOver = false;
  const hanging = here.get("k").finally(() => (isOver = true));
  while (!isOver) await here.get("quick");
  assert.equal(await hanging, undefined);
});

test("what was invalidated of late is said again after a request that brought no answer", async () => {
  const here = edge();
  await here.set("k", "old");
  const old = await raw("GET", "app:k");
  await here.delete("k");
  // Another server takes the place of the first one, which had not told it yet.
  await raw("SET", "app:k", old);
  rest.meddle = () => {
    rest.meddle = () => undefined;
    return [502, "bad gateway"];
  };
  assert.equal(await here.get("elsewhere"), undefined);
  assert.equal(await here.get("k"), undefined);
  assert.equal(await raw("GET", "app:k"), null);
});

test("what could not be invalidated is said before this process reads again", async () => {
  const here = edge();
  await here.set("k", "old");
  rest.meddle = () => [503, ""];
  assert.deepEqual(await here.deleteMany(["k"]), { count: 0, queued: true });
  assert.equal(await here.get("k"), undefined);
  rest.meddle = () => undefined;
  await until("it is invalidated", async () => (await raw("EXISTS", "app:k")) === 0);
  await until("nothing is owed", async () => (await here.get("other")) === undefined && here.stats().queued === 0);
});

test("a server that fails is left alone, and asked again later", async () => {
  const here = edge();
  await here.set("k", 1);
  rest.meddle = () => [500, "{}"];
  for (let times = 0; times < 50; times++) await here.get("k");
  assert.ok(asked().length < 30);
  rest.meddle = () => undefined;
  await until("it is asked again", async () => (await here.get("k")) === 1);
});

const STRANGE = {
  "a page": [200, "<html>welcome</html>"],
  nothing: [200, ""],
  "one answer": [200, { result: "AA==" }],
  "no answers": [200, []],
  "more answers than commands": [200, Array.from({ length: 9 }, () => ({ result: 0 }))],
  "a map": [200, [{ result: { a: 1 } }]],
  "no base64": [200, [{ result: "no base64!" }]],
  "null in the place of an answer": [200, [null]],
  "an empty answer": [200, [{}]],
  "a redirect": [302, ""],
  "not found": [404, "not here"],
  "a limit": [429, { error: "ERR max requests limit exceeded" }],
};
for (const [name, answer] of Object.entries(STRANGE)) {
  test(`what is no answer of the database is no value: ${name}`, async () => {
    const here = edge();
    await here.set("k", 1);
    rest.meddle = () => answer;
    assert.deepEqual(await here.deleteMany(["other"]), { count: 0, queued: true });
    assert.equal(await here.get("k"), undefined);
    assert.equal(await here.getOrSet("k", () => 2), 2);
    rest.meddle = () => undefined;
    await until("it is asked again", async () => (await here.get("k")) === 1);
  });
}

test("a token that is refused is said in the log, and calls go on without the database", async () => {
  const cache = edge({}, { token: "another" });
  assert.equal(await cache.getOrSet("k", () => 1), 1);
  assert.equal(await cache.get("k"), undefined);
  assert.ok(said.some((message) => message.includes("NOAUTH")));
  assert.equal(new Set(said).size, said.length, "each is said once");
});

test("very many keys are read in one request", async () => {
  const here = edge();
  const items = new Map(Array.from({ length: 9_000 }, (_, at) => [`k${at}`, at]));
  for (let at = 0; at < 9_000; at += 3_000) await here.setMany(new Map([...items].slice(at, at + 3_000)));
  asked();
  assert.deepEqual(await here.getMany(items.keys()), items);
  assert.equal(asked().length, 1);
});

test("what has another type under a key of ours is a miss and left alone", async () => {
  const here = edge();
  await raw("RPUSH", "app:k", "x");
  assert.equal(await here.get("k"), undefined);
  assert.equal(await here.getOrSet("k", () => 1), 1);
  assert.equal(String(await raw("TYPE", "app:k")), "list");
});

test("scripts that the server forgot are told it again", async () => {
  const here = edge();
  await here.getOrSet("k", () => 1);
  await raw("SCRIPT", "FLUSH");
  await here.delete("k");
  assert.equal(await here.getOrSet("k", () => 2), 2);
  assert.equal(await node().get("k"), 2);
});

test("the token is in nothing that is said, whatever goes wrong", async () => {
  const heard = [];
  const note = (what) => heard.push(inspect(what, { depth: 20, showHidden: true }));
  const wrong = `wrong-${TOKEN}`;
  for (const given of [{ token: wrong }, { url: "http://127.0.0.1:1" }, { commandTimeout: 1 }]) {
    const refused = store(given);
    note(refused);
    const cache = opened({ store: refused, strict: true });
    note(cache);
    const calls = [
      () => cache.get("k"),
      () => cache.set("k", 1),
      () => cache.delete("k"),
      () => cache.add("k", 1),
      () => cache.incr("k"),
      () => cache.lock("k", { ttl: 1_000, wait: 0 }),
      () => cache.publish("k", 1),
      () => cache.explain("k"),
    ];
    for (const call of calls) await call().then(note, note);
  }
  for (const given of [
    { token: `${TOKEN}\n` },
    { url: `https://:${TOKEN}@host` },
    { url: `https://host?_token=${TOKEN}` },
    { url: TOKEN },
  ]) {
    assert.throws(
      () => store(given),
      (error) => {
        note(error);
        return error instanceof ConfigError;
      },
    );
  }
  assert.ok(heard.length > 20);
  for (const text of [...heard, ...said]) assert.ok(!text.includes(TOKEN), text);
});

test("options that are none are refused", () => {
  for (const given of [
    { url: "redis://host:6379" },
    { url: 5 },
    { url: "https://user@host" },
    { token: "" },
    { token: undefined },
    { commandTimeout: 0 },
    { maxValueBytes: -1 },
    { reads: "all" },
  ]) {
    assert.throws(() => upstash({ url: "https://host", token: "t", ...given }), ConfigError);
  }
});

test("a value that is too large for a request is not sent, and what is there is invalidated", async () => {
  const here = edge({}, { maxValueBytes: 1_000 });
  await here.set("k", "old");
  await here.set("k", "x".repeat(2_000));
  assert.equal(await here.get("k"), undefined);
  assert.equal(await raw("EXISTS", "app:k"), 0);
});

test("where the clock stands still between answers, values expire and loads are limited as they are elsewhere", async (context) => {
  const real = performance.now.bind(performance);
  const [sleep, ask] = [globalThis.setTimeout, globalThis.fetch];
  let now = real();
  const tick = () => (now = real());
  context.mock.method(performance, "now", () => now);
  context.mock.method(globalThis, "setTimeout", (call, ms) => {
    const ended = () => {
      tick();
      call();
    };
    return sleep(ended, ms);
  });
  context.mock.method(globalThis, "fetch", async (...given) => {
    const response = await ask(...given);
    tick();
    return response;
  });
  const here = edge({ loadTimeout: 200 });
  await here.set("k", 1, { ttl: 500 });
  assert.equal(await here.get("k"), 1);
  await until("it has expired", async () => (await here.get("k")) === undefined);
  const stuck = here.getOrSet("slow", () => new Promise(() => undefined));
  stuck.catch(() => undefined);
  assert.equal(await here.getOrSet("slow", () => "mine"), "mine");
  rest.meddle = () => "hang";
  const hasty = edge({}, { commandTimeout: 30 });
  assert.equal(await hasty.getOrSet("k", () => 2), 2);
});

function withResolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
