// The core in Node: it imports nothing from its host, and decides there as it does elsewhere.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const target = process.env.CARGO_TARGET_DIR ?? "target";
const bytes = await readFile(`${target}/wasm32-unknown-unknown/release/donjon_wasm_probe.wasm`);
const module = await WebAssembly.compile(bytes);
const { exports: core } = await WebAssembly.instantiate(module, {});

test("the module imports nothing", () => {
  assert.deepEqual(WebAssembly.Module.imports(module), []);
});

test("a value is fresh, then stale, then over", () => {
  const stands = (read) => core.freshness(10_000, 5_000, 1_000, read);
  assert.deepEqual([10_999, 11_000, 15_999, 16_000].map(stands), [0, 1, 1, 2]);
});

test("a life of nothing is refused", () => {
  assert.equal(core.freshness(0, 0, 0, 0), 3);
});
