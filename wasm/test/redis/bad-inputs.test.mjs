// Bad inputs over Redis and what must happen, each by its number in the project's table. Those that a client library has a part in run
// over each of them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  BackendUnavailableError,
  ConfigError,
  FOREVER,
  InvalidKeyError,
  InvalidPatternError,
  InvalidTagError,
  InvalidTtlError,
  LockLostError,
  UnsupportedValueError,
} from "../../dist/inline.js";
import { back, forEachClient, freshNamespace, gate, open, proxyTo, start, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const WAYS_TO_NAME_A_KEY = {
  get: (cache, key) => cache.get(key),
  set: (cache, key) => cache.set(key, 1),
  add: (cache, key) => cache.add(key, 1),
  incr: (cache, key) => cache.incr(key),
  touch: (cache, key) => cache.touch(key, 10),
  ttl: (cache, key) => cache.ttl(key),
  exists: (cache, key) => cache.exists(key),
  explain: (cache, key) => cache.explain(key),
  delete: (cache, key) => cache.delete(key),
  getOrSet: (cache, key) => cache.getOrSet(key, () => 1),
  "getOrSet anew": (cache, key) => cache.getOrSet(key, () => 1, { forceRefresh: true }),
  lookup: (cache, key) => cache.lookup(key),
  getMany: (cache, key) => cache.getMany(["good", key]),
  setMany: (cache, key) =>
    cache.setMany(
      new Map([
        ["good", 1],
        [key, 1],
      ]),
    ),
  deleteMany: (cache, key) => cache.deleteMany(["good", key]),
  getOrSetMany: (cache, key) => cache.getOrSetMany(["good", key], () => ({})),
  lock: (cache, key) => cache.lock(key, { ttl: 1_000 }),
  publish: (cache, key) => cache.publish(key, 1),
};

/** What is asked of a server, so that it can be seen that nothing is. */
const asked = async () => Number(await server.info("total_commands_processed"));

for (const [way, call] of Object.entries(WAYS_TO_NAME_A_KEY)) {
  test(`rows 1, 2 and 4: ${way} refuses what is no key before anything is sent`, async (t) => {
    const cache = open(t, server.url);
    await back(cache);
    // As many as asking itself takes.
    const [first, second] = [await asked(), await asked()];
    for (const key of [
      "",
      "k".repeat(1_025),
      "é".repeat(513),
      "\ud800",
      1,
      null,
      undefined,
      Buffer.from("k"),
      ["k"],
      { toString: () => "k" },
    ]) {
      await assert.rejects(
        async () => call(cache, key),
        (error) => {
          assert.ok(error instanceof InvalidKeyError, String(error));
          if (way.endsWith("Many")) assert.match(error.message, /1/);
          return true;
        },
      );
    }
    assert.equal((await asked()) - second, second - first);
    assert.equal(cache.stats().flights, 0);
  });
}

test("row 2: a key of 1 KiB is none too long", async (t) => {
  const cache = open(t, server.url);
  await cache.set("é".repeat(512), 1);
  assert.equal(await cache.get("é".repeat(512)), 1);
});

forEachClient((client) => {
  for (const key of ["a\0b", "a\r\nb", "a b", "\u{1F5DD}", "{a}", "a*?[b]\\", "*", "app:k", "app!k", "%3A", "__proto__", "constructor"]) {
    test(`row 3, ${client}: ${JSON.stringify(key)} is literal`, async (t) => {
      const cache = open(t, server.url, { client });
      await cache.setMany(
        new Map([
          [key, { v: key }],
          [`${key}x`, 1],
          [`x${key}`, 1],
          ["ax?", 1],
        ]),
      );
      assert.deepEqual(await cache.get(key), { v: key });
      assert.deepEqual(await cache.getMany([key]), new Map([[key, { v: key }]]));
      assert.equal(await cache.getOrSet(key, () => assert.fail("it is there")).then(({ v }) => v), key);
      // Row 5: never a pattern.
      assert.equal(await cache.delete(key), true);
      assert.equal((await cache.getMany([key, `${key}x`, `x${key}`, "ax?"])).size, 3);
      assert.equal(await cache.incr(`n${key}`), 1);
      if (key.includes("\0") || key === "*") return;
      await cache.set(key, 1, { tags: [key] });
      await cache.invalidateTags(key);
      assert.equal(await cache.get(key), undefined);
    });
  }
});

test("row 6: an empty pattern is none, and all stars clear the namespace alone", async (t) => {
  const cache = open(t, server.url);
  const other = open(t, server.url);
  await assert.rejects(cache.invalidatePattern(""), InvalidPatternError);
  for (const pattern of ["*", "**", "***"]) {
    await cache.setMany({ a: 1, b: 2 });
    await other.set("k", 1);
    assert.equal((await cache.invalidatePattern(pattern)).count, 2);
    assert.equal(await other.get("k"), 1);
  }
});

test("row 7: a broken pattern matches what it matches in Redis", async (t) => {
  const cache = open(t, server.url);
  const keys = ["a", "-", "]", "[", "[a", "x", "\\", "a]", "b"];
  for (const pattern of ["[", "[^", "[a-]", "[^a", "[a", "x\\", "\\", "[]a]", "[^]", "[\\a-z]", "[b-a]"]) {
    await cache.clear();
    await cache.setMany(Object.fromEntries(keys.map((key) => [key, 1])));
    // By Redis itself, on names without a prefix, which would make the pattern another.
    const namespace = `${cache.namespace}:`;
    const matching = (await server.ask("KEYS", namespace.replace(/[.*?[\]\\^-]/g, "\\$&") + pattern))
      .map((name) => name.slice(namespace.length))
      .sort();
    assert.equal((await cache.invalidatePattern(pattern)).count, matching.length, pattern);
    const left = await cache.getMany(keys);
    assert.deepEqual(keys.filter((key) => !left.has(key)).sort(), matching, pattern);
  }
});

test("row 8: a pattern that costs too much is refused before anything is sent", async (t) => {
  const cache = open(t, server.url);
  await back(cache);
  const [first, second] = [await asked(), await asked()];
  for (const pattern of ["*a".repeat(2_000), `[${"a".repeat(1 << 20)}]`, "[a-\u00ff]", "*a".repeat(33), "\ud800", 5, null]) {
    await assert.rejects(async () => cache.invalidatePattern(pattern), InvalidPatternError);
  }
  assert.equal((await asked()) - second, second - first);
});

test("row 9: what is no time to live is refused, and part of a millisecond is one", async (t) => {
  const cache = open(t, server.url);
  for (const ttl of [0, -1, NaN, Infinity, -Infinity, 1e18, true, null, "", "5 parsecs", 0n, [1], {}]) {
    for (const call of [
      () => cache.set("k", 1, { ttl }),
      () => cache.add("k", 1, { ttl }),
      () => cache.incr("k", 1, { ttl }),
      () => cache.touch("k", ttl),
      () => cache.getOrSet("k", () => assert.fail("not loaded"), { ttl }),
      () => cache.lock("k", { ttl }),
    ]) {
      await assert.rejects(async () => call(), InvalidTtlError, String(ttl));
    }
  }
  assert.equal(await cache.exists("k"), false);
  await cache.set("k", 1, { ttl: 0.0004 });
  await until("it is over", async () => !(await cache.exists("k")));
  await cache.set("k", 1, { ttl: FOREVER });
  assert.equal(await server.ask("PTTL", `${cache.namespace}:k`), -1);
});

test("row 10: null is a value, and undefined none", async (t) => {
  const cache = open(t, server.url);
  await cache.set("k", null);
  assert.equal(await cache.get("k"), null);
  for (const call of [
    () => cache.set("u", undefined),
    () => cache.add("u", undefined),
    () => cache.getOrSet("u", () => undefined),
    () => cache.publish("c", undefined),
  ]) {
    await assert.rejects(async () => call(), UnsupportedValueError);
  }
  assert.equal(await cache.exists("u"), false);
  assert.equal(await cache.getOrSet("u", () => "after"), "after", "the lease was given up");
});

test("row 11: what has no exact form is refused, and what has one comes back", async (t) => {
  const cache = open(t, server.url);
  const circle = {};
  circle.circle = circle;
  let deep = [];
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];
  for (const value of [
    NaN,
    Infinity,
    new Map(),
    new Set(),
    Symbol("s"),
    () => 1,
    circle,
    deep,
    "\ud800",
    { a: [undefined] },
    new Float64Array(1),
    /x/,
  ]) {
    await assert.rejects(cache.set("k", value), UnsupportedValueError);
    await assert.rejects(
      cache.getOrSet("k", () => value),
      UnsupportedValueError,
    );
  }
  for (const value of [2 ** 53 - 1, 2n ** 53n + 1n, 2n ** 64n, -(2n ** 64n), 1e-7, 1.7976931348623157e308]) {
    await cache.set("k", value);
    assert.equal(await cache.get("k"), value);
  }
  await cache.set("k", { at: new Date(0) });
  assert.deepEqual(await cache.get("k"), { at: "1970-01-01T00:00:00.000Z" });
});

/** The bytes of a value as Redis keeps them, and what puts others there. */
async function enveloped(cache, value, options) {
  const name = `${cache.namespace}:k`;
  await cache.set("k", value, { ttl: 60_000, ...options });
  return {
    bytes: await server.askBytes("GET", name),
    put: (bytes) => server.ask("SET", name, bytes),
    there: () => server.askBytes("GET", name),
  };
}

function withPayload(bytes, payload, length = payload.length) {
  const head = Buffer.from(bytes.subarray(0, 44));
  head.writeUInt32BE(length, 40);
  return Buffer.concat([head, payload]);
}

const UNREADABLE = [
  "[".repeat(100_000),
  '{"a":'.repeat(100_000),
  "[".repeat(100_000) + "]".repeat(100_000),
  "[".repeat(128) + "]".repeat(128),
  Buffer.from('"\xff"', "latin1"),
  "nan",
  "1e",
  "",
  '{"a":1}x',
  "01",
];

for (const [number, payload] of UNREADABLE.entries()) {
  test(`row 12: a payload that nobody should read is a miss and loaded anew: ${number}`, async (t) => {
    const cache = open(t, server.url);
    const { bytes, put } = await enveloped(cache, "x");
    await put(withPayload(bytes, Buffer.from(payload)));
    assert.equal(await cache.get("k"), undefined);
    assert.deepEqual(await cache.getMany(["k"]), new Map());
    assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
    assert.equal(await cache.get("k"), "loaded");
    assert.ok(cache.stats().undecodable >= 3);
  });
}

test("row 12: a length that is not there takes no memory, and a value of 50 MB is read or not", async (t) => {
  const cache = open(t, server.url);
  const { bytes, put } = await enveloped(cache, "x");
  await put(withPayload(bytes, bytes.subarray(44), 0xffff_ffff));
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
  await put(withPayload(bytes, Buffer.alloc(50 << 20, "x")));
  assert.equal(await cache.get("k"), undefined);
  assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
  await assert.doesNotReject(cache.set("k", "y".repeat(17 << 20)));
  assert.equal(await cache.get("k"), undefined, "it was larger than a value may be");
});

test("row 13: an envelope that is cut anywhere is a miss and loaded anew", async (t) => {
  const cache = open(t, server.url);
  const { bytes, put } = await enveloped(cache, { name: "value" }, { tags: ["t"] });
  for (let length = 2; length < bytes.length; length++) {
    await put(bytes.subarray(0, length));
    assert.equal(await cache.get("k"), undefined, String(length));
    assert.equal(await cache.getOrSet("k", () => "anew", { tags: ["t"] }), "anew", String(length));
    assert.equal(await cache.get("k"), "anew", String(length));
  }
  assert.equal(cache.stats().restarts, 0);
});

test("row 13: no flipped bit is more than a miss", async (t) => {
  const cache = open(t, server.url, { loadTimeout: 20 });
  for (const options of [{}, { tags: ["t"] }]) {
    const { bytes, put } = await enveloped(cache, { name: "value" }, options);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] ^= 1 << (bit & 7);
      await put(flipped);
      await Promise.all([cache.get("k"), cache.getMany(["k"]), cache.exists("k"), cache.explain("k")]);
      await cache.getOrSet("k", () => "anew", options);
      await cache.incr("k").catch((error) => assert.equal(error.name, "NotACounterError"));
      await cache.delete("k");
    }
  }
  assert.equal(cache.stats().restarts, 0);
  assert.equal(cache.stats().flights, 0);
});

for (const format of [2, 99, 255]) {
  test(`row 13: an entry of the newer format ${format} is no value, and not replaced`, async (t) => {
    const cache = open(t, server.url);
    const { bytes, put, there } = await enveloped(cache, "value");
    const newer = Buffer.from(bytes);
    newer[2] = format;
    await put(newer);
    assert.equal(await cache.get("k"), undefined);
    assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
    assert.equal(await cache.getOrSet("k", () => "loaded", { forceRefresh: true }), "loaded");
    assert.equal(await cache.add("k", 1), false);
    assert.deepEqual(await there(), newer);
    assert.equal(cache.stats().foreign, 2);
  });
}

const FOREIGN = {
  "a pickle": Buffer.from("80049514000000000000008c05706f73697894", "hex"),
  "an old pickle": "(dp0\nVa\np1\nI1\ns.",
  JSON: '{"id": 5}',
  "a text": "true",
  nothing: "",
  "no text": Buffer.from([0xff, 0xfe]),
  "no number": "12ab",
  "half a magic": Buffer.from([0xc1]),
};

forEachClient((client) => {
  for (const [what, bytes] of Object.entries(FOREIGN)) {
    test(`row 14, ${client}: ${what} of others is neither read nor replaced`, async (t) => {
      const cache = open(t, server.url, { client });
      const name = `${cache.namespace}:k`;
      await server.ask("SET", name, bytes);
      assert.equal(await cache.get("k"), undefined);
      assert.deepEqual(await cache.getMany(["k"]), new Map());
      assert.equal(await cache.exists("k"), false);
      assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
      assert.deepEqual(await server.askBytes("GET", name), Buffer.from(bytes));
      assert.ok(cache.stats().foreign >= 1);
    });
  }

  for (const write of [
    ["RPUSH", "a"],
    ["HSET", "a", "b"],
    ["SADD", "a"],
    ["ZADD", "1", "a"],
  ]) {
    test(`row 14, ${client}: what ${write[0]} made under our name is counted and stays, though a delete removes it`, async (t) => {
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client });
      const name = `${cache.namespace}:k`;
      await server.ask(write[0], name, ...write.slice(1));
      const before = await server.askBytes("DUMP", name);
      for (let round = 0; round < 10; round++) assert.equal(await cache.get("k"), undefined);
      await cache.set("other", 1);
      assert.equal(await cache.get("other"), 1);
      assert.equal(proxy.connections, 1, "it does not speak against the connection");
      assert.deepEqual(await cache.getMany(["k", "none"]), new Map());
      assert.equal(await cache.exists("k"), false);
      assert.equal(await cache.ttl("k"), undefined);
      assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
      await assert.rejects(cache.incr("k"), BackendUnavailableError);
      assert.deepEqual(await server.askBytes("DUMP", name), before);
      assert.ok(cache.stats().faults >= 1, "a load and a count meet it; a read cannot tell it from nothing");
      assert.equal(await cache.delete("k"), false);
      assert.equal(await server.ask("EXISTS", name), 0);
      await cache.set("k", "meant");
      assert.equal(await cache.get("k"), "meant");
    });
  }
});

test("row 15: an entry that was copied to another name is that of the name", async (t) => {
  const cache = open(t, server.url);
  await cache.set("a", 1);
  await server.ask("COPY", `${cache.namespace}:a`, `${cache.namespace}:b`);
  // Nothing vouches for names; what follows is that either goes without the other.
  assert.equal(await cache.get("b"), 1);
  await cache.delete("a");
  assert.equal(await cache.get("b"), 1);
});

for (const lasting of ["PERSIST", "PEXPIRE"]) {
  test(`row 16: a forged placeholder that nobody fills keeps nobody for long, after ${lasting}`, async (t) => {
    const dead = open(t, server.url);
    const cache = open(t, server.url, { namespace: dead.namespace });
    const name = `${dead.namespace}:k`;
    const miss = await dead.lookup("k");
    const kept = await server.askBytes("GET", name);
    assert.equal(String.fromCharCode(kept[3]), "L");
    kept.fill("z", 4, 20);
    await server.ask("SET", name, kept, ...(lasting === "PERSIST" ? [] : ["PX", "700"]));
    assert.equal(await cache.get("k"), undefined);
    assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
    assert.equal(await cache.get("k"), "loaded");
    assert.equal(cache.stats().takeovers, 1);
    assert.equal((await miss.fill("late")).isStored, false);
    assert.ok((await server.ask("PTTL", name)) > 0);
  });
}

test("row 17: a loader that throws, hangs or comes late harms nobody else", async (t) => {
  const cache = open(t, server.url, { loadTimeout: 300 });
  await assert.rejects(
    cache.getOrSet("k", () => {
      throw new RangeError("mine");
    }),
    RangeError,
  );
  assert.equal((await server.ask("EXISTS", `${cache.namespace}:k`)) <= 1, true);
  assert.equal(await cache.getOrSet("k", () => "after"), "after");
  const hangs = gate("late");
  const hanging = cache.getOrSet("h", hangs);
  await hangs.begun;
  assert.equal(await cache.getOrSet("h", () => "mine"), "mine", "past the limit each loads for itself");
  await server.ask("DEL", `${cache.namespace}:h`);
  hangs.release();
  assert.equal(await hanging, "late");
  assert.equal(await cache.get("h"), undefined);
  await assert.rejects(async () => cache.getOrSet("x", "no function"), TypeError);
  assert.equal(cache.stats().flights, 0);
});

test("rows 18 and 19: twenty thousand missing keys leave nothing behind", async (t) => {
  const cache = open(t, server.url);
  for (let from = 0; from < 20_000; from += 1_000) {
    assert.equal((await cache.getMany(Array.from({ length: 1_000 }, (_, at) => `k:${from + at}`))).size, 0);
  }
  const loads = Array.from({ length: 2_000 }, (_, at) => cache.getOrSet(`l:${at}`, async () => at, { ttl: 1 }));
  assert.equal((await Promise.all(loads)).length, 2_000);
  const { flights, faults, misses } = cache.stats();
  assert.deepEqual({ flights, faults, misses }, { flights: 0, faults: 0, misses: 22_000 });
});

const SECRET = "p@ss:/w%rd";

forEachClient((client) => {
  test(`row 20, ${client}: a password with every sign in it, a socket and a database are found`, async (t) => {
    const own = await start(t, { password: SECRET });
    const cache = open(t, `${own.url}/3`, { client });
    await cache.set("k", 1);
    assert.equal(await cache.get("k"), 1);
    assert.match(await own.ask("INFO", "keyspace"), /db3:keys=1/);
    const options = client.startsWith("io") ? { path: own.socket, password: SECRET } : { socket: { path: own.socket }, password: SECRET };
    const byPath = open(t, client.startsWith("io") ? "" : undefined, { client, clientOptions: options });
    await byPath.set("k", 2);
    assert.equal(await byPath.get("k"), 2);
    assert.match(await own.ask("CLIENT", "LIST"), new RegExp(`addr=${own.socket}:0`));
  });

  test(`row 20, ${client}: a wrong password and a database that is not there are said, and no secret shows`, async (t) => {
    const own = await start(t, { password: SECRET });
    const shown = [];
    const warn = t.mock.method(console, "warn", (...texts) => shown.push(texts.join(" ")));
    const error = t.mock.method(console, "error", (...texts) => shown.push(texts.join(" ")));
    for (const url of [own.url.replace("p%40ss", "wr0ng"), `${own.url}/99`, `redis://wr0ng:wr0ng@127.0.0.1:${own.port}`]) {
      const cache = open(t, url, { client });
      for (let round = 0; round < 3; round++) assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
      assert.equal(await cache.ping(), false);
      assert.equal(await cache.get("k"), undefined);
      const failed = await cache.incr("n").catch((error) => error);
      assert.ok(failed instanceof BackendUnavailableError);
      shown.push(failed.message, failed.stack, String(failed.cause), ...cache.logged);
      assert.match(cache.logged.join("\n"), url.endsWith("/99") ? /no connection to redis/ : /WRONGPASS|NOAUTH/);
      assert.ok(cache.logged.length <= 3, cache.logged.join("\n"));
    }
    assert.equal(await own.ask("DBSIZE"), 0);
    for (const secret of [SECRET, encodeURIComponent(SECRET), "wr0ng", "w%25rd"]) {
      assert.ok(!shown.some((text) => text.includes(secret)), `${secret} shows in ${shown.find((text) => text.includes(secret))}`);
    }
    warn.mock.restore();
    error.mock.restore();
  });

  for (const size of [0, 1, 4, 5, 20, 40, 60]) {
    test(`row 21, ${client}: a connection that breaks after ${size} bytes of a reply costs a miss at most`, async (t) => {
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client });
      await cache.set("k", { name: "value" });
      proxy.cutAfter("replies", size);
      const value = await cache.get("k");
      assert.ok(value === undefined || value.name === "value");
      await until("it is served", async () => (await cache.get("k"))?.name === "value");
      proxy.cutAfter("replies", size);
      assert.equal(await cache.getOrSet("other", () => "loaded"), "loaded");
      await back(cache);
      proxy.cut();
      await until("it is served", async () => (await cache.get("k"))?.name === "value");
    });
  }

  const STRANGE = {
    "no protocol": "HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": ":5\r\n",
    "a list": "*1\r\n$1\r\na\r\n",
    "a length of 4 GB": "$4294967296\r\nx",
    "a push": ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    // Deeper, and the parser of ioredis falls over its own stack, where nobody can catch it.
    "lists in lists": "*1\r\n".repeat(client.startsWith("io") ? 1_000 : 10_000),
    "nothing at all": "",
  };
  for (const [what, answer] of Object.entries(STRANGE)) {
    test(`row 21, ${client}: a server that answers ${what} is as good as none`, async (t) => {
      const rogue = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.on("data", () => socket.write(answer));
      });
      await new Promise((resolve) => rogue.listen(0, "127.0.0.1", resolve));
      const sockets = new Set();
      rogue.on("connection", (socket) => sockets.add(socket));
      t.after(() => {
        rogue.close();
        for (const socket of sockets) socket.destroy();
      });
      const limits = { commandTimeout: 100, connectTimeout: 100 };
      const cache = open(t, `redis://127.0.0.1:${rogue.address().port}`, { client, limits });
      assert.equal(await cache.get("k"), undefined);
      assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
      await cache.set("k", 1);
      assert.equal((await cache.deleteMany(["k"])).queued, true);
      assert.equal(await cache.ping(), false);
    });
  }

  test(`row 24, ${client}: a process ends by itself once its cache is closed, and says nothing`, async () => {
    const program = fileURLToPath(new URL("ending.mjs", import.meta.url));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, server.url, client, freshNamespace()]);
    assert.deepEqual([stdout, stderr], ["done\n", ""]);
  });

  test(`row 25, ${client}: what is no tag is refused, and a reserved name is none`, async (t) => {
    const cache = open(t, server.url, { client });
    const many = Array.from({ length: 10_000 }, (_, number) => `t${number}`);
    for (const tags of [[""], ["x".repeat(257)], ["*"], ["\0seq"], ["a\0b"], ["\ud800"], [5], many, "t"]) {
      await assert.rejects(async () => cache.set("k", 1, { tags }), InvalidTagError);
      await assert.rejects(async () => cache.getOrSet("k", () => assert.fail("not loaded"), { tags }), InvalidTagError);
      if (Array.isArray(tags)) await assert.rejects(async () => cache.invalidateTags(...tags), InvalidTagError);
    }
    assert.equal(await cache.exists("k"), false);
    await cache.set("k", 1, { tags: ["a b", "é", "{t}", "t", "t"] });
    assert.deepEqual((await cache.explain("k")).tags, ["a b", "é", "{t}", "t"]);
  });

  test(`row 27, ${client}: a lock is its holder's alone, and its loss is noticed`, async (t) => {
    const cache = open(t, server.url, { client });
    const name = `${cache.namespace}!{lock:mine}`;
    for (const ttl of [0, -1, FOREVER, undefined]) await assert.rejects(async () => cache.lock("mine", { ttl }), InvalidTtlError);
    for (const wait of [-1, NaN, "1"]) await assert.rejects(async () => cache.lock("mine", { ttl: 1_000, wait }), ConfigError);
    const lock = await cache.lock("mine", { ttl: 300 });
    assert.equal(lock.isHeld, true);
    await server.ask("SET", name, "another's", "PX", "60000");
    await until("its loss is noticed", () => lock.lost.aborted);
    assert.equal(lock.isHeld, false);
    assert.ok(lock.lost.reason instanceof LockLostError);
    await assert.rejects(lock.release(), LockLostError);
    await assert.rejects(lock.release(), LockLostError);
    assert.equal(await server.ask("GET", name), "another's");
    await server.ask("DEL", name);
    const renewed = await cache.lock("mine", { ttl: 600 });
    for (let round = 0; round < 2; round++) {
      await server.ask("PEXPIRE", name, "400");
      await until("it is renewed", async () => (await server.ask("PTTL", name)) > 400);
    }
    await renewed.release();
    assert.equal(await server.ask("EXISTS", name), 0);
  });
});
