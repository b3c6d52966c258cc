// The bytes of entries: the golden vectors, read and written by Node through Redis.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CASES, entryOf, fieldsOf, retimed } from "./envelope.mjs";
import { PATIENT, open, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

const HOUR = 3_600_000;

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

/** Redis's clock, in milliseconds. */
async function now() {
  const [seconds, micros] = await server.ask("TIME");
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

function valueIn({ codec, payload }) {
  const bytes = Buffer.from(payload, "hex");
  return codec === "json" ? JSON.parse(bytes.toString()) : new Uint8Array(bytes);
}

function endsInOurDays({ fresh_until_ms: fresh }) {
  return fresh !== null && fresh >= 1_700_000_000_000 && fresh < 4_000_000_000_000;
}

/** Whether a reader is given its value, with no table that knows its tags. */
function isServed(entry) {
  return entry.kind === "V" && entry.tags.length === 0 && (endsInOurDays(entry) || entry.fresh_until_ms === null);
}

/** The bytes of an entry; one that ends on a day of this century is given another hour to live. */
async function current(entry) {
  const bytes = Buffer.from(entry.hex, "hex");
  const [fresh, usable] = [(await now()) + HOUR, (await now()) + 2 * HOUR];
  return endsInOurDays(entry) ? retimed(bytes, fresh, entry.usable_until_ms === null ? 2n ** 64n - 1n : usable) : bytes;
}

test("the tests' own hand writes every vector to the byte", () => {
  for (const entry of CASES.entries) assert.equal(entryOf(entry).toString("hex"), entry.hex, entry.name);
});

for (const entry of CASES.entries) {
  test(`read: ${entry.name}`, async (t) => {
    const cache = open(t, server.url);
    const name = `${cache.namespace}:k`;
    const there = await current(entry);
    await server.ask("SET", name, there);
    assert.deepEqual(await cache.get("k"), isServed(entry) ? valueIn(entry) : undefined);
    assert.equal(await cache.exists("k"), isServed(entry));
    if (isServed(entry)) {
      assert.deepEqual(await cache.getOrSet("k", () => assert.fail("it is there")), valueIn(entry));
      const { loadTime, bytes: size } = await cache.explain("k");
      assert.deepEqual({ loadTime, size }, { loadTime: entry.load_ms, size: entry.payload.length / 2 });
      return;
    }
    if (entry.kind === "L") return;
    assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
    const isLeftAlone = entry.kind === "M" || entry.kind === "T";
    assert.deepEqual(await cache.get("k"), isLeftAlone ? undefined : "loaded");
    if (isLeftAlone) assert.deepEqual(await server.askBytes("GET", name), there);
  });
}

test("read: a value whose tag stands as it was noted, until it is invalidated", async (t) => {
  const cache = open(t, server.url);
  const entry = CASES.entries.find(({ name }) => name === "with a tag");
  const [tag] = entry.tags;
  await cache.invalidateTags(tag.name);
  let table;
  for (let number = 0; number < 64; number++) {
    const name = `${cache.namespace}!t${number}`;
    if ((await server.ask("HEXISTS", name, tag.name)) === 1) table = name;
  }
  await server.ask("HSET", table, "\0epoch", String(BigInt(`0x${tag.epoch}`)), tag.name, tag.version);
  const there = retimed(Buffer.from(entry.hex, "hex"), (await now()) + HOUR, (await now()) + HOUR);
  await server.ask("SET", `${cache.namespace}:k`, there);
  assert.deepEqual(await cache.get("k"), valueIn(entry));
  await cache.invalidateTags(tag.name);
  assert.equal(await cache.get("k"), undefined);
});

for (const { name, hex, is } of CASES.others) {
  test(`read: ${name}, which is ${is}`, async (t) => {
    const cache = open(t, server.url, { loadTimeout: 1_000 });
    const [kind, number] = is.split(" ");
    const text = Buffer.from(hex, "hex").toString();
    await server.ask("SET", `${cache.namespace}:k`, Buffer.from(hex, "hex"));
    // A counter is read as JSON, which has no leading zeros; nobody of ours writes them.
    const isCounter = kind === "counter" && text !== "007";
    const expected = isCounter ? (Number.isSafeInteger(Number(number)) ? Number(text) : BigInt(number)) : undefined;
    assert.equal(await cache.get("k"), expected);
    assert.equal(await cache.getOrSet("k", () => "loaded"), expected ?? "loaded");
    const isReplaced = kind === "damaged" || (kind === "counter" && !isCounter);
    assert.equal((await server.askBytes("GET", `${cache.namespace}:k`)).toString("hex") !== hex, isReplaced);
    if (isReplaced) assert.equal(await cache.get("k"), "loaded");
    else if (kind !== "counter") assert.equal(cache.stats().foreign, 1);
  });
}

/** The entry cut off anywhere and with each of its bits flipped, and what at most is in it then. */
function* harmed(entry, bytes) {
  const payload = bytes.length - (entry.payload ?? "").length / 2;
  const left = (flipped) => {
    try {
      return entry.kind === "V" && entry.tags.length === 0 ? valueIn({ ...entry, payload: flipped.toString("hex", payload) }) : undefined;
    } catch {
      return undefined; // it is no JSON any more
    }
  };
  for (let end = 0; end < bytes.length; end++) yield [`${entry.name}: cut to ${end}`, bytes.subarray(0, end), undefined];
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    yield [`${entry.name}: bit ${bit}`, flipped, left(flipped)];
  }
}

for (const near of [false, true]) {
  test(`read: an entry that is harmed is a miss, or says what is left of it${near ? ", with memory in front" : ""}`, async (t) => {
    const cache = open(t, server.url, { limits: { ...PATIENT, near } });
    // The tags of the one that has all there may be would take a minute to look up; the core's own tests harm it, too.
    for (const entry of CASES.entries.filter(({ tags }) => tags.length < 64)) {
      const all = [...harmed(entry, await current(entry))];
      await server.ask("MSET", ...all.flatMap(([name, bytes]) => [`${cache.namespace}:${name}`, bytes]));
      const found = await cache.getMany(all.map(([name]) => name));
      for (const [name, , left] of all) {
        if (found.has(name)) assert.deepEqual(found.get(name), left, name);
      }
    }
  });
}

test("read: an entry that is harmed keeps nobody from loading", async (t) => {
  const cache = open(t, server.url);
  for (const [name, bytes, left] of harmed(CASES.entries[0], await current(CASES.entries[0]))) {
    await server.ask("SET", `${cache.namespace}:${name}`, bytes);
    const given = await cache.getOrSet(name, () => "loaded");
    if (given !== "loaded") assert.deepEqual(given, left, name);
  }
});

const WRITTEN = [
  ["JSON", { id: 5, name: "Zoë" }, {}],
  ["null", null, { grace: 60_000 }],
  ["bytes", Uint8Array.from({ length: 256 }, (_, at) => at), {}],
  ["no bytes", new Uint8Array(), {}],
  ["for ever", 1, { ttl: Infinity }],
  ["with tags", [1], { tags: ["user:5", "é".repeat(128)] }],
  ["with all the tags there may be", "x", { tags: Array.from({ length: 64 }, (_, number) => `t${number}`) }],
];

for (const how of ["set", "loaded"]) {
  for (const [name, value, { ttl = HOUR, ...options }] of WRITTEN) {
    test(`written: ${name}, ${how}`, async (t) => {
      const cache = open(t, server.url);
      const { FOREVER } = await import("../../dist/inline.js");
      const storing = { ttl: ttl === Infinity ? FOREVER : ttl, ...options };
      const before = await now();
      if (how === "set") await cache.set("k", value, storing);
      else await cache.getOrSet("k", () => value, storing);
      const bytes = await server.askBytes("GET", `${cache.namespace}:k`);
      const fields = fieldsOf(bytes);
      assert.equal(bytes.toString("hex"), entryOf(fields).toString("hex"), "as another hand would write it");
      assert.equal(fields.kind, "V");
      assert.deepEqual(
        fields.tags.map((tag) => tag.name),
        options.tags ?? [],
      );
      const isBytes = value instanceof Uint8Array;
      assert.equal(fields.codec, isBytes ? "bytes" : "json");
      assert.equal(fields.payload, Buffer.from(isBytes ? value : JSON.stringify(value)).toString("hex"));
      const left = await server.ask("PTTL", `${cache.namespace}:k`);
      if (ttl === Infinity) {
        assert.deepEqual([fields.fresh_until_ms, fields.usable_until_ms, left], [null, null, -1]);
      } else {
        const { fresh_until_ms: fresh, usable_until_ms: usable } = fields;
        // This side's idea of Redis's clock is ahead by as much as Redis took to tell.
        assert.ok(fresh >= before + ttl - 1 && fresh <= (await now()) + ttl + 60_000, `${fresh - before}`);
        assert.equal(usable - fresh, options.grace ?? 0);
        assert.ok(left > 0 && left <= ttl + (options.grace ?? 0));
      }
    });
  }
}

test("no two tokens are the same", async (t) => {
  const caches = [open(t, server.url), open(t, server.url)];
  const tokens = new Set();
  for (const cache of caches) {
    for (let number = 0; number < 50; number++) {
      await cache.set("k", 1);
      tokens.add(fieldsOf(await server.askBytes("GET", `${cache.namespace}:k`)).token);
    }
  }
  assert.equal(tokens.size, 100);
});

test("a placeholder is a lease as the vector has it, and ends by itself", async (t) => {
  const cache = open(t, server.url);
  const miss = await cache.lookup("k");
  const bytes = await server.askBytes("GET", `${cache.namespace}:k`);
  const lease = CASES.entries.find(({ name }) => name === "a lease");
  assert.deepEqual(
    { ...fieldsOf(bytes), token: "", fresh_until_ms: 0, usable_until_ms: 0 },
    {
      ...fieldsOf(Buffer.from(lease.hex, "hex")),
      token: "",
      fresh_until_ms: 0,
      usable_until_ms: 0,
    },
  );
  const left = await server.ask("PTTL", `${cache.namespace}:k`);
  assert.ok(left > 0 && left <= 2_000);
  await server.ask("PERSIST", `${cache.namespace}:k`);
  await miss[Symbol.asyncDispose]();
  await until("it is given up", async () => (await server.ask("EXISTS", `${cache.namespace}:k`)) === 0);
});
