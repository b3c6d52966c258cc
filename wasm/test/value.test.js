// How values are read from their JSON: what the package keeps to itself, built from its source.

import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

const source = new URL("../ts/value.ts", import.meta.url).pathname;
const { outputFiles } = await build({ entryPoints: [source], bundle: true, format: "esm", write: false });
const { parse } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);

test("whole numbers that a number cannot hold come as bigint, wherever they stand", () => {
  const long = 12345678901234567890n;
  assert.equal(parse(`${long}`), long);
  assert.deepEqual(parse(`[-${long},{"a":${long}}]`), [-long, { a: long }]);
  assert.deepEqual(parse(`{"fraction":0.1234567890123456,"whole":${long}}`), { fraction: 0.1234567890123456, whole: long });
  assert.equal(parse("1234567890123456"), 1234567890123456);
});

test("a long whole number is found at any place, and behind any fraction", () => {
  const whole = 9007199254740993n;
  for (let before = 0; before < 40; before++) {
    const letters = "x".repeat(before);
    assert.deepEqual(parse(`["${letters}",${whole}]`), [letters, whole]);
    const fraction = `0.${"1".repeat(1 + before)}`;
    assert.deepEqual(parse(`[${fraction},${whole}]`), [Number(fraction), whole]);
  }
});

test("a fraction of many digits needs no more than the host's own parser", (t) => {
  const text = JSON.stringify({ score: 1 / 7, list: [-2 / 3, 1e-9] });
  const { mock } = t.mock.method(JSON, "parse");
  assert.deepEqual(parse(text), { score: 1 / 7, list: [-2 / 3, 1e-9] });
  assert.deepEqual(
    mock.calls.map((call) => call.arguments),
    [[text]],
  );
});
