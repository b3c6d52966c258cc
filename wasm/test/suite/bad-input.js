/** The inputs that every binding must meet with the same outcome, by their numbers in the list that the languages share. */
import {
  FOREVER,
  ConfigError,
  DonjonError,
  InvalidKeyError,
  InvalidPatternError,
  InvalidRuleError,
  InvalidTagError,
  InvalidTtlError,
  UnsupportedValueError,
  createCache,
  key,
  matches,
} from "donjon";
import { about, byHand, equal, giving, neverRun, ok, rejects, throws, turn } from "./case.js";

export const test = about("bad input");

/** Every call that takes a key. */
const BY_KEY = {
  get: (it, k) => it.get(k),
  getMany: (it, k) => it.getMany([k]),
  exists: (it, k) => it.exists(k),
  ttl: (it, k) => it.ttl(k),
  explain: (it, k) => it.explain(k),
  getOrSet: (it, k) => it.getOrSet(k, neverRun),
  getOrSetMany: (it, k) => it.getOrSetMany([k], neverRun),
  lookup: (it, k) => it.lookup(k),
  set: (it, k) => it.set(k, 1),
  setMany: (it, k) => it.setMany(new Map([[k, 1]])),
  add: (it, k) => it.add(k, 1),
  incr: (it, k) => it.incr(k),
  touch: (it, k) => it.touch(k, 5),
  delete: (it, k) => it.delete(k),
  deleteMany: (it, k) => it.deleteMany([k]),
  lock: (it, k) => it.lock(k, { ttl: 5 }),
  peek: async (it, k) => it.peek(k),
};

async function everywhereRefused(cache, bad) {
  const it = cache();
  for (const [name, call] of Object.entries(BY_KEY)) {
    await rejects(() => call(it, bad), InvalidKeyError).catch((error) => {
      throw new Error(`${name}: ${error.message}`);
    });
  }
  equal(it.size, 0);
  equal(it.stats().flights, 0);
}

test("1: an empty key is refused, in a batch with its place", async ({ cache }) => {
  await everywhereRefused(cache, "");
  const it = cache();
  for (const call of [() => it.getMany(["a", ""]), () => it.deleteMany(["a", ""]), () => it.getOrSetMany(["a", ""], neverRun)]) {
    await rejects(call, InvalidKeyError, /\b1\b/);
  }
  await rejects(it.setMany({ a: 1, b: 2, "": 3 }), InvalidKeyError, /\b2\b/);
  equal(await it.get("a"), undefined, "what a refused batch stored");
});

test("2: a key of 1,024 bytes is the longest", async ({ cache }) => {
  const it = cache();
  for (const longest of ["k".repeat(1_024), "é".repeat(512), "🦀".repeat(256)]) {
    await it.set(longest, 1);
    equal(await it.get(longest), 1);
  }
  for (const longer of ["k".repeat(1_025), `${"é".repeat(512)}k`, `${"🦀".repeat(256)}k`, "k".repeat(1e6)])
    await everywhereRefused(cache, longer);
});

test("3: any text is a key, taken literally, and deletes only itself", async ({ cache }) => {
  const it = cache();
  const odd = [
    "\u0000",
    "a\u0000b",
    "\r\n",
    " ",
    "a b",
    "🦀",
    "{a}",
    "{}",
    "*",
    "?",
    "[a]",
    "\\",
    "user:*",
    "%",
    ":",
    "__proto__",
    "constructor",
    "é",
    "e\u0301",
  ];
  for (const [at, name] of odd.entries()) await it.set(name, at);
  await it.set("user:1", "stays");
  for (const [at, name] of odd.entries()) {
    equal(await it.get(name), at);
    equal(it.peek(name), at);
    equal(await it.delete(name), true);
    equal(await it.get(name), undefined);
    equal(it.size, odd.length - at);
  }
  equal(await it.get("user:1"), "stays");
});

test("4: what is no text is no key, and is not made one", async ({ cache }) => {
  for (const bad of [
    1,
    0,
    Number.NaN,
    null,
    undefined,
    true,
    1n,
    {},
    ["a"],
    new Uint8Array([97]),
    Symbol("k"),
    () => "k",
    { toString: () => "k" },
    "\ud800",
    "a\udc00b",
  ]) {
    await everywhereRefused(cache, bad);
  }
  const it = cache();
  await it.set("1", "text");
  await rejects(it.get(1), InvalidKeyError);
  await rejects(it.getMany("keys"), InvalidKeyError);
  await rejects(it.deleteMany("keys"), InvalidKeyError);
});

test("5: what a user typed deletes exactly that key, never a pattern", async ({ cache }) => {
  const it = cache();
  await it.setMany({ "user:1": 1, "user:2": 2, "*": 3 });
  equal(await it.delete("*"), true);
  equal(await it.delete("user:*"), false);
  equal(await it.delete("user:?"), false);
  equal((await it.deleteMany(["[u]ser:1", "*"])).count, 0);
  equal(it.size, 2);
});

test("6: an empty pattern is refused, and stars alone mean to clear", async ({ cache }) => {
  const it = cache();
  await it.setMany({ a: 1, b: 2 });
  await rejects(it.invalidatePattern(""), InvalidPatternError);
  for (const bad of [undefined, null, 5, ["*"], "\ud800*"]) await rejects(it.invalidatePattern(bad), InvalidPatternError);
  equal(it.size, 2);
  equal((await it.invalidatePattern("*")).count, 2);
  await it.setMany({ a: 1, b: 2 });
  equal((await it.invalidatePattern("***")).count, 2);
  equal(it.size, 0);
});

test("7: a pattern that ends in the midst is read as Redis reads it", async ({ cache }) => {
  const it = cache();
  await it.setMany({ "[": 1, a: 2, "-": 3, "\\": 4, "a\\": 5 });
  for (const [pattern, removed] of [
    ["[", 0],
    ["[^", 0],
    ["a\\", 1],
    ["[a-]", 0],
  ]) {
    const kept = it.size;
    const { count } = await it.invalidatePattern(pattern);
    equal(count, [...["[", "a", "-", "\\", "a\\"]].filter((name) => matches(pattern, name)).length, `what ${pattern} removed`);
    equal(it.size, kept - count);
    void removed;
    await it.setMany({ "[": 1, a: 2, "-": 3, "\\": 4, "a\\": 5 });
  }
});

test("8: a pattern that would cost too much, or has no meaning in bytes, is refused", async ({ cache }) => {
  const it = cache();
  await it.set("k", 1);
  for (const bad of ["*a".repeat(2_000), `[${"a".repeat(1e6)}]`, "[é-z]", "[a-é]"])
    await rejects(it.invalidatePattern(bad), InvalidPatternError);
  equal(await it.get("k"), 1);
});

test("9: a time that is none is refused before anything happens", async ({ cache }) => {
  const it = cache({ ttlClasses: { mine: 5 } });
  await it.set("k", "old", { ttl: 1_000 });
  const tenYears = 10 * 365.25 * 86_400_000;
  const bad = [
    0,
    -0,
    -1,
    -0.5,
    Number.NaN,
    Infinity,
    -Infinity,
    1e18,
    tenYears * 1.01,
    true,
    false,
    null,
    5n,
    {},
    [],
    new Date(),
    "",
    "0s",
    "-5m",
    "5 parsecs",
    "NaN",
    "Infinity",
    "no such class",
    "\ud800",
  ];
  for (const ttl of bad) {
    const calls = {
      set: () => it.set("k", 1, { ttl }),
      setMany: () => it.setMany({ k: 1 }, { ttl }),
      add: () => it.add("n", 1, { ttl }),
      incr: () => it.incr("n", 1, { ttl }),
      touch: () => it.touch("k", ttl),
      getOrSet: () => it.getOrSet("n", neverRun, { ttl }),
      getOrSetMany: () => it.getOrSetMany(["n"], neverRun, { ttl }),
      fill: async () => {
        const miss = await it.lookup("n");
        try {
          await miss.fill(1, { ttl });
        } finally {
          miss.abandon();
        }
      },
      lock: () => it.lock("n", { ttl }),
      wrap: () => it.wrap(neverRun, { key: () => "n", ttl })(),
      defaultTtl: async () => cache({ defaultTtl: ttl }),
      ttlClasses: async () => cache({ ttlClasses: { mine: ttl } }),
    };
    for (const [name, call] of Object.entries(calls)) {
      await rejects(call, InvalidTtlError).catch((error) => {
        throw new Error(`${name} with ${String(ttl)}: ${error.message}`);
      });
    }
  }
  equal(await it.get("k"), "old");
  equal(await it.ttl("k"), 1_000);
  equal(it.size, 1);
  for (const grace of [-1, Number.NaN, Infinity, 1e18, true, null, "-1s", "no such class"]) {
    await rejects(it.set("k", 1, { grace }), InvalidTtlError);
    await rejects(it.getOrSet("n", neverRun, { grace }), InvalidTtlError);
  }
  equal(await it.get("k"), "old");
});

test("9: less than a millisecond is one", async ({ cache, clock }) => {
  const it = cache();
  await it.set("k", 1, { ttl: 0.0004 });
  equal(await it.ttl("k"), 1);
  clock.advance(1);
  equal(await it.get("k"), undefined);
});

test("10: null is a value, undefined is none", async ({ cache }) => {
  const it = cache();
  await it.set("k", null);
  equal(await it.get("k"), null);
  await rejects(it.set("k", undefined), UnsupportedValueError);
  await rejects(it.set("k"), UnsupportedValueError);
  equal(await it.get("k"), null);
  equal(await it.get("other"), undefined);
});

test("11: numbers and dates are exact, or refused", async ({ cache }) => {
  const it = cache();
  for (const value of [2n ** 53n + 1n, 2n ** 64n, -0, Number.MAX_SAFE_INTEGER, 2 ** 53, 1e21]) {
    await it.set("k", value);
    equal(await it.get("k"), value);
  }
  const circle = [];
  circle.push(circle);
  for (const value of [Number.NaN, Infinity, -Infinity, new Set([1]), circle, new Date(Number.NaN), [new Date("")]])
    await rejects(it.set("k", value), UnsupportedValueError);
  const day = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6));
  await it.set("k", { day });
  equal(await it.get("k"), { day: day.toISOString() });
});

test("12: what is too deep or too large is refused or not kept, and nothing breaks", async ({ cache }) => {
  const it = cache({ maxBytes: 2 ** 20 });
  let deep = [];
  for (let at = 0; at < 1e5; at++) deep = [deep];
  await rejects(it.set("k", deep), UnsupportedValueError);
  await rejects(
    it.getOrSet("k", () => deep),
    UnsupportedValueError,
  );
  const large = "x".repeat(50 * 2 ** 20);
  await it.set("k", large);
  equal(await it.get("k"), undefined);
  equal((await it.getOrSet("k", () => large)).length, large.length);
  equal(it.size, 0);
  await it.set("k", "small");
  equal(await it.get("k"), "small");
});

test("17: a loader that throws, hangs, is aborted, comes late, or asks for its own key hurts nobody else", async ({ cache }) => {
  const it = cache({ loadTimeout: 20, clock: undefined });
  await rejects(
    it.getOrSet("throws", () => Promise.reject(new RangeError("no"))),
    RangeError,
  );
  equal(await it.getOrSet("throws", giving(1)), 1);
  const hanging = byHand();
  const hung = it.getOrSet("hangs", hanging);
  await hanging.started(1);
  equal(await it.getOrSet("hangs", giving(1)), 1);
  const leaver = new AbortController();
  const left = it.getOrSet("aborted", hanging, { signal: leaver.signal });
  const call = await hanging.started(2);
  leaver.abort();
  await rejects(left, Error);
  equal(await it.getOrSet("aborted", giving(1)), 1);
  call.give("late");
  (await hanging.started(1)).give("late");
  equal(await hung, "late", "what a load gives its own caller, however late");
  await turn();
  equal(
    await it.getMany(["hangs", "aborted"]),
    new Map([
      ["hangs", 1],
      ["aborted", 1],
    ]),
  );
  equal(await it.getOrSet("itself", () => it.getOrSet("itself", () => "direct")), "direct");
  equal(it.stats().flights, 0);
});

test("18: keys that have no value leave nothing behind", async ({ cache }) => {
  const it = cache();
  const failing = () => {
    throw new RangeError("none");
  };
  for (let at = 0; at < 20_000; at++) await it.get(`missing:${at}`);
  for (let at = 0; at < 2_000; at++) await rejects(it.getOrSet(`missing:${at}`, failing), RangeError);
  const { entries, flights, bytes } = it.stats();
  equal([entries, flights, bytes], [0, 0, 0]);
});

test("18: loads at once are bounded: those beyond it give their value and store nothing", async ({ cache }) => {
  const it = cache();
  const all = await Promise.all(Array.from({ length: 12_000 }, (_, at) => it.getOrSet(`k${at}`, async () => at)));
  equal(
    all,
    Array.from({ length: 12_000 }, (_, at) => at),
  );
  ok(it.size > 0 && it.size <= 10_000, `${it.size} are stored`);
  equal(it.stats().flights, 0);
});

test("19: each cache hashes its keys by a seed of its own, from the host's randomness", async ({ cache }) => {
  const asked = [];
  const real = crypto.getRandomValues;
  crypto.getRandomValues = (into) => {
    asked.push(into.length);
    return real.call(crypto, into);
  };
  try {
    for (let at = 0; at < 2; at++) await cache().set("k", 1);
  } finally {
    delete crypto.getRandomValues;
    if (crypto.getRandomValues !== real) crypto.getRandomValues = real;
  }
  equal(asked, [16, 16]);
});

test("25: tags that are none are refused, and so are too many", async ({ cache }) => {
  const it = cache();
  await it.set("k", "old");
  const many = Array.from({ length: 10_000 }, (_, at) => `t${at}`);
  for (const tags of [
    [""],
    ["\u0000seq"],
    ["*"],
    ["a", ""],
    many,
    many.slice(0, 65),
    ["t".repeat(257)],
    "t",
    { 0: "t" },
    [5],
    [null],
    ["\ud800"],
    null,
  ]) {
    await rejects(it.set("k", 1, { tags }), InvalidTagError);
    await rejects(it.getOrSet("n", neverRun, { tags }), InvalidTagError);
    if (Array.isArray(tags)) await rejects(it.invalidateTags(...tags), InvalidTagError);
  }
  equal(await it.get("k"), "old");
  await it.set("k", 1, { tags: many.slice(0, 64) });
  await it.invalidateTags("t63");
  equal(await it.get("k"), undefined);
});

test("a cache that is told nonsense is not made", async () => {
  const bad = [
    { namespace: "" },
    { namespace: "a:b" },
    { namespace: "a".repeat(65) },
    { namespace: 5 },
    { maxBytes: 0 },
    { maxBytes: -1 },
    { maxBytes: 1.5 },
    { maxBytes: "1" },
    { maxEntries: 0 },
    { maxEntries: Number.NaN },
    { jitter: -0.1 },
    { jitter: 1.1 },
    { jitter: Number.NaN },
    { jitter: "0" },
    { early: -1 },
    { early: Number.NaN },
    { loadTimeout: 0 },
    { loadTimeout: -1 },
    { loadTimeout: Number.NaN },
    { copy: "deep" },
    { copy: true },
    { ttlClasses: "5m" },
    { clock: {} },
    { clock: null },
    { waitUntil: {} },
    { strict: "yes" },
    { enabled: "false" },
    { log: console },
    { store: {} },
    { store: "redis://localhost" },
    { maxbytes: 5 },
    { ttl: "5m" },
    null,
    "app",
  ];
  for (const options of bad) {
    const error = throws(() => createCache(options), Error);
    ok(error instanceof ConfigError, `${JSON.stringify(options)} throws ${error}`);
  }
  throws(() => createCache({ ttlClasses: { "": 5 } }), DonjonError);
  createCache({ ttlClasses: { forever: FOREVER } })[Symbol.dispose]();
});

test("how to store is an object: a number is no time to live in its place", async ({ cache }) => {
  const it = cache();
  for (const bad of [5_000, "5m", null, true, () => 5]) {
    await rejects(() => it.set("k", 1, bad), TypeError, /\{ ttl: "5m" \}/);
    await rejects(() => it.setMany({ k: 1 }, bad), TypeError);
    await rejects(() => it.getOrSet("k", neverRun, bad), TypeError);
  }
  equal(it.size, 0);
});

test("an option that no call has is refused, with those that there are", async ({ cache }) => {
  const it = cache();
  const calls = {
    set: () => it.set("k", 1, { tll: 5 }),
    setMany: () => it.setMany({ k: 1 }, { TTL: 5 }),
    add: () => it.add("k", 1, { tags: ["t"] }),
    incr: () => it.incr("k", 1, { grace: 5 }),
    getOrSet: () => it.getOrSet("k", neverRun, { forceRefesh: true }),
    getOrSetMany: () => it.getOrSetMany(["k"], neverRun, { forceRefresh: true }),
    lookup: () => it.lookup("k", { ttl: 5 }),
    lock: () => it.lock("k", { ttl: 5, timeout: 5 }),
    publish: () => it.publish("c", 1, { isRaw: true }),
    subscribe: async () => it.subscribe("c", { max: 5 }),
    wrap: async () => it.wrap(neverRun, { key: () => "k", tag: "t" }),
    warm: () => it.warm(["k"], { loader: neverRun, parallel: 2 }),
    on: async () => it.rules.on("event", { key: ["k"] }),
  };
  for (const [name, call] of Object.entries(calls)) {
    await rejects(call, ConfigError, /there is no option `(\w+)`; there are (?!.*\b\1\b)/).catch((error) => {
      throw new Error(`${name}: ${error.message}`);
    });
  }
  const miss = await it.lookup("k");
  await rejects(() => miss.fill(1, { tag: ["t"] }), ConfigError, /ttl, grace, tags/);
  miss.abandon();
  equal(it.size, 0);
});

test("an unknown class of times is told which is nearest, and where one is defined", async ({ cache }) => {
  await rejects(() => cache().set("k", 1, { ttl: "stat" }), InvalidTtlError, /`stats`.*where the cache is made/);
});

test("errors and caches are shown by their names, though what is packed has short ones", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  miss.abandon();
  equal([it, it.rules, miss].map((shown) => shown.constructor.name).join(), "Cache,Rules,LookupMiss");
  const error = await rejects(() => it.get(""), InvalidKeyError);
  equal(`${error.constructor.name} ${error.name}`, "InvalidKeyError InvalidKeyError");
});

test("one text is no list of them, and a list no mapping", async ({ cache }) => {
  const it = cache();
  for (const bad of ["abc", 5, null, undefined, {}]) {
    await rejects(() => it.getMany(bad), InvalidKeyError);
    await rejects(() => it.deleteMany(bad), InvalidKeyError);
    await rejects(() => it.getOrSetMany(bad, neverRun), InvalidKeyError);
  }
  for (const bad of [[["a", 1]], "abc", 5, null]) await rejects(() => it.setMany(bad), TypeError);
  await rejects(() => it.warm("abc", { loader: neverRun }), TypeError);
  for (const targets of [{ keys: "user:1" }, { patterns: "user:*" }, { tags: "users" }, undefined])
    throws(() => it.rules.on("event", targets), InvalidRuleError);
  throws(() => it.subscribe(5), InvalidKeyError);
  equal(it.size, 0);
});

test("a function is wrapped with a `key`, which gives the parts of a key or all of it", async ({ cache }) => {
  const it = cache();
  for (const bad of [undefined, {}, { key: "user" }]) throws(() => it.wrap(neverRun, bad), TypeError, /key/);
  for (const key of [() => 5, () => undefined, () => ({})]) await rejects(() => it.wrap(neverRun, { key })(1), InvalidKeyError, /key/);
});

test("a rule that cannot be read is refused, and so is an event that lacks what its rules name", async ({ cache }) => {
  const it = cache();
  throws(() => it.rules.on("event", { keys: ["user:{id"] }), InvalidRuleError);
  throws(() => it.rules.on("event", { keys: [5] }), InvalidRuleError);
  throws(() => it.rules.on(5, {}), InvalidRuleError);
  throws(() => it.rules.on("event", { tags: ["\ud800"] }), InvalidRuleError);
  it.rules.on("user.updated", { keys: ["user:{id}"], patterns: ["users:*"] });
  await it.set("users:all", 1);
  await rejects(it.emit("user.updated", { name: "x" }), InvalidRuleError);
  for (const id of [undefined, 0.5, Number.NaN, {}, [], "\ud800"]) await rejects(it.emit("user.updated", { id }), InvalidRuleError);
  await rejects(it.emit(5), InvalidRuleError);
  equal(await it.get("users:all"), 1);
});

test("a part of a key is text, a whole number, a truth value or null", async () => {
  equal(key("a", 1, -5, 10n, true, null), "a:1:-5:10:true:null");
  for (const part of [undefined, 0.5, Number.NaN, Infinity, 2 ** 53, {}, [], new Date(), Symbol("s"), "\ud800"])
    throws(() => key("a", part), InvalidKeyError);
  throws(() => key(), InvalidKeyError);
  throws(() => key(""), InvalidKeyError);
  throws(() => key(...Array(20).fill("x".repeat(100))), InvalidKeyError);
});
