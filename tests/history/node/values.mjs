/**
 * Values of every kind, on the side of Node: reads what Python has stored, stores the same, and counts on.
 *
 *     node values.mjs URL NAMESPACE
 *
 * `test_values.py` beside it has the same values by the same names.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

import { createCache } from "../../../wasm/dist/inline.js";
import { redis } from "../../../wasm/dist/redis.js";

const { createClient } = createRequire(new URL("../../../wasm/package.json", import.meta.url))("redis");

let nested = 7;
for (let depth = 0; depth < 100; depth++) nested = depth % 2 === 0 ? [nested] : { in: nested };

const VALUES = {
  null: null,
  true: true,
  false: false,
  zero: 0,
  "zero below": -0,
  number: -42,
  "largest whole number": 2 ** 53 - 1,
  "whole number beyond": 2n ** 53n + 1n,
  "64 bits": -(2n ** 63n),
  "64 bits without a sign": 2n ** 64n - 1n,
  fraction: 0.1,
  "whole fraction": 5,
  large: 1.7976931348623157e308,
  small: 5e-324,
  exponent: 1e21,
  "empty text": "",
  text: 'Zoë said: "\\" /\b\f\n\r\t',
  "any letters": "\u0000\u001f\u007f\u0080\u2028\u2029\ufeff\uffff",
  "beyond the plane": "🦀\u{10ffff}",
  "empty list": [],
  list: [null, true, 1, "a", [], {}],
  "empty object": {},
  object: { b: 1, a: { "": 2, é: [3] }, 10: "ten", "a b": null },
  proto: JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}'),
  nested,
  "no bytes": new Uint8Array(),
  bytes: Uint8Array.from({ length: 256 }, (_, at) => at),
  "bytes like JSON": new TextEncoder().encode('{"a": 1}'),
};

const [url, namespace] = parseArgs({ allowPositionals: true }).positionals;
const cache = createCache({ namespace, store: redis(createClient({ url }), { commandTimeout: 10_000, connectTimeout: 10_000 }) });
for (const [name, value] of Object.entries(VALUES)) {
  assert.deepStrictEqual(await cache.get(`python ${name}`), value, name);
  await cache.set(`node ${name}`, value);
}
assert.equal(await cache.incr("counter", 2), 42);
await cache.close();
console.log(JSON.stringify(Object.keys(VALUES)));
