/** What may be kept, and that it reads back as it was; that each reader has a copy of its own. */
import { UnsupportedValueError } from "donjon";
import { about, byHand, equal, neverRun, ok, rejects, throws } from "./case.js";

export const test = about("values");

const text = new TextEncoder();

const KEPT = {
  nothing: null,
  texts: ["", "text", "é", "\u0000", "🦀", "\u2028", "a".repeat(100_000)],
  truth: [true, false],
  numbers: [0, 1, -1, 1.5, 1e300, 5e-324, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0.1],
  "zero with a sign": [-0, { x: -0 }],
  "whole numbers of any size": [2n ** 53n + 1n, -(2n ** 64n), [2n ** 200n], { id: 9007199254740993n }],
  lists: [[], [[]], [1, "a", null, [true]]],
  objects: [{}, { a: { b: { c: [] } } }, { "": 1, " ": 2, ключ: 3 }],
  "names that objects have of their own": [{ constructor: 1, toString: 2, hasOwnProperty: 3, valueOf: 4 }],
  bytes: [new Uint8Array(), new Uint8Array([0, 255, 128]), text.encode("text")],
};

for (const [what, values] of Object.entries(KEPT)) {
  test(`${what} read back as they were`, async ({ cache }) => {
    const it = cache();
    for (const value of [values].flat(1)) {
      await it.set("k", value);
      equal(await it.get("k"), value);
      equal(it.peek("k"), value);
      equal(await it.getOrSet("l", () => value), value);
      await it.delete("l");
    }
  });
}

test("a bigint that a number can hold is a number, as it is from every backend", async ({ cache }) => {
  const it = cache();
  await it.set("k", [0n, -5n, BigInt(Number.MAX_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER) + 1n]);
  equal(await it.get("k"), [0, -5, Number.MAX_SAFE_INTEGER, BigInt(Number.MAX_SAFE_INTEGER) + 1n]);
});

test("bytes of a kind of their own are kept as plain bytes, and each reader has its own", async ({ cache }) => {
  class Shared extends Uint8Array {
    slice() {
      return this;
    }
  }
  const it = cache();
  const given = new Shared([1, 2]);
  await it.set("k", given);
  given[0] = 9;
  const read = await it.get("k");
  equal(Object.getPrototypeOf(read), Uint8Array.prototype);
  equal(read, new Uint8Array([1, 2]));
  read[0] = 9;
  equal(it.peek("k"), new Uint8Array([1, 2]));
});

test("a field called __proto__ is a field like any other", async ({ cache }) => {
  const it = cache();
  await it.set("k", JSON.parse('{"__proto__": {"isAdmin": true}, "a": 1}'));
  const read = await it.get("k");
  equal(Object.keys(read), ["__proto__", "a"]);
  equal(Object.getPrototypeOf(read), Object.prototype);
  equal(read.isAdmin, undefined);
  equal({}.isAdmin, undefined);
});

class Point {
  #secret = 1;
  constructor(x) {
    this.x = x;
  }
  get double() {
    return this.x * 2 * this.#secret;
  }
}

test("what has a JSON form is kept as that", async ({ cache }) => {
  const it = cache();
  const forms = [
    [new Date(Date.UTC(2026, 0, 2)), "2026-01-02T00:00:00.000Z"],
    [new URL("https://example.org/a"), "https://example.org/a"],
    [new Point(2), { x: 2 }],
    [{ toJSON: () => ({ a: [1] }) }, { a: [1] }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [{ a: 1, b: undefined }, { a: 1 }],
    [Object.assign([1, 2], { name: "list" }), [1, 2]],
    [new Number(5), 5],
    [new String("s"), "s"],
    [{ [Symbol("hidden")]: 1, a: 2 }, { a: 2 }],
  ];
  for (const [value, form] of forms) {
    await it.set("k", value);
    equal(await it.get("k"), form);
  }
});

const circle = { a: {} };
circle.a.b = circle;

const REFUSED = {
  undefined: undefined,
  "undefined in a list": [undefined],
  // biome-ignore lint/suspicious/noSparseArray: it is what is refused
  "a list with a hole": [1, , 2],
  "no number": Number.NaN,
  "no number, deep inside": { a: [{ b: Number.NaN }] },
  infinity: Infinity,
  "minus infinity": [-Infinity],
  "a function": () => 1,
  "a method": { a() {} },
  "a symbol": Symbol("s"),
  "a map": new Map([[1, 2]]),
  "a set": { a: new Set([1]) },
  "a regular expression": /a/,
  "an error": new Error("e"),
  "a promise": Promise.resolve(1),
  "floats in bytes": new Float64Array(1),
  "a buffer of bytes": new ArrayBuffer(1),
  "a weak map": new WeakMap(),
  "bytes among other things": { bytes: new Uint8Array(1) },
  "half a surrogate pair": "\ud83d",
  "half a surrogate pair in a name": { "\udc00": 1 },
  "a circle": circle,
  "what says of itself that it is itself": {
    toJSON() {
      return this;
    },
  },
};

for (const [what, value] of Object.entries(REFUSED)) {
  test(`${what} is refused, and nothing changed`, async ({ cache }) => {
    const it = cache();
    await it.set("k", "old");
    const miss = await it.lookup("other");
    await rejects(it.set("k", value), UnsupportedValueError);
    await rejects(it.setMany({ a: 1, k: value }), UnsupportedValueError);
    await rejects(it.add("new", value), UnsupportedValueError);
    await rejects(
      it.getOrSet("loaded", () => value),
      what === "a promise" ? Error : UnsupportedValueError,
    ).catch((error) => {
      // What a loader gives is awaited.
      if (what !== "a promise") throw error;
    });
    await rejects(miss.fill(value), UnsupportedValueError);
    await rejects(it.publish("channel", value), UnsupportedValueError);
    equal(await it.get("k"), "old");
    equal(await it.get("a"), undefined);
    equal(await it.get("new"), undefined);
    miss.abandon();
  });
}

test("a value is nested at most 127 deep", async ({ cache }) => {
  const it = cache();
  const nested = (depth) => {
    let value = "deep";
    for (let at = 0; at < depth; at++) value = at % 2 === 0 ? [value] : { a: value };
    return value;
  };
  await it.set("k", nested(127));
  equal(await it.get("k"), nested(127));
  await rejects(it.set("k", nested(128)), UnsupportedValueError);
  await rejects(it.set("k", nested(100_000)), UnsupportedValueError);
  equal(await it.get("k"), nested(127));
});

test("an error of a getter or of toJSON is the caller's", async ({ cache }) => {
  const it = cache();
  const throwing = {
    get a() {
      throw new RangeError("mine");
    },
  };
  await rejects(it.set("k", throwing), RangeError, /mine/);
  equal(await it.get("k"), undefined);
});

test("T13: what a caller does to what it got or gave changes nothing in the cache", async ({ cache }) => {
  const it = cache();
  const fresh = () => ({ list: [1, { a: 1 }], deep: { deeper: [[]] } });
  const given = fresh();
  await it.set("k", given);
  given.list.push(2);
  given.deep.deeper[0].push(1);
  equal(await it.get("k"), fresh());
  for (const read of [
    () => it.get("k"),
    () => it.peek("k"),
    () => it.getOrSet("k", () => 1),
    async () => (await it.getMany(["k"])).get("k"),
  ]) {
    const got = await read();
    got.list[1].a = "spoilt";
    got.list.length = 0;
    got.deep.deeper[0].push(1);
    equal(await it.get("k"), fresh());
  }
  const hit = await it.lookup("k");
  hit.value.list.push(3);
  equal(await it.get("k"), fresh());
});

test("T13: bytes are copied both ways", async ({ cache }) => {
  const it = cache();
  const given = new Uint8Array([1, 2]);
  await it.set("k", given);
  given[0] = 9;
  (await it.get("k"))[1] = 9;
  it.peek("k")[1] = 9;
  equal(await it.get("k"), new Uint8Array([1, 2]));
  await it.set("part", new Uint8Array([1, 2, 3, 4]).subarray(1, 3));
  equal((await it.get("part")).buffer.byteLength, 2, "the bytes behind a part of some");
});

test("T13: those who shared a load share no value", async ({ cache }) => {
  const it = cache();
  const load = byHand();
  const both = [it.getOrSet("k", load), it.getOrSet("k", load)];
  const loaded = { list: [1] };
  (await load.started(1)).give(loaded);
  const [one, other] = await Promise.all(both);
  one.list.push(2);
  loaded.list.push(3);
  equal(other, { list: [1] });
  equal(await it.get("k"), { list: [1] });
});

test("T13: the value that a fill gives is the filler's own", async ({ cache }) => {
  const it = cache();
  const miss = await it.lookup("k");
  const { value } = await miss.fill({ list: [1] });
  value.list.push(2);
  equal(await it.get("k"), { list: [1] });
  const many = await it.getOrSetMany(["m"], () => ({ m: [1] }));
  many.get("m").push(2);
  equal(await it.get("m"), [1]);
});

test('copy: "freeze" hands out what is frozen, all the way down, and leaves what was given alone', async ({ cache }) => {
  const it = cache({ copy: "freeze" });
  const given = { list: [{ a: 1 }] };
  await it.set("k", given);
  given.list.push(2);
  const read = await it.get("k");
  equal(read, { list: [{ a: 1 }] });
  ok(read === it.peek("k"), "it is handed out as it is");
  throws(() => read.list.push(1), TypeError);
  throws(() => {
    read.list[0].a = 2;
  }, TypeError);
  const loaded = await it.getOrSet("l", () => ({ a: {} }));
  ok(Object.isFrozen(loaded) && Object.isFrozen(loaded.a), "what was loaded is frozen");
  ok(loaded === it.peek("l"), "it is what is kept");
});

test("what is handed out as it is, is so by one promise, for as long as it is what its key has", async ({ cache, clock }) => {
  for (const copy of ["none", "freeze"]) {
    const it = cache({ copy });
    await it.set("k", { n: 1 }, { ttl: 1_000 });
    const first = it.get("k");
    ok(it.get("k") === first && it.getOrSet("k", neverRun) === first, "one promise");
    equal(await first, { n: 1 });
    await it.set("k", { n: 2 }, { ttl: 1_000 });
    equal(await it.get("k"), { n: 2 }, "another value");
    clock.advance(1_000);
    equal(await it.get("k"), undefined, "too late");
    await it.set("k", { n: 3 });
    await it.set("other", { n: 4 });
    equal([await it.get("k"), await it.get("other")], [{ n: 3 }, { n: 4 }]);
    await it.delete("k");
    equal(await it.get("k"), undefined, "deleted");
  }
});

test('copy: "none" keeps what it was given, whatever it is, but undefined', async ({ cache }) => {
  const it = cache({ copy: "none" });
  const given = { list: [1], map: new Map(), call: () => 1 };
  given.self = given;
  await it.set("k", given);
  ok((await it.get("k")) === given, "it is the same object");
  ok(it.peek("k") === given, "it is the same object");
  ok((await it.getOrSet("l", () => given)) === given, "it is the same object");
  await rejects(it.set("k", undefined), UnsupportedValueError);
  await rejects(
    it.getOrSet("u", () => undefined),
    UnsupportedValueError,
  );
  ok((await it.get("k")) === given, "it is still there");
});
