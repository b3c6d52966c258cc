// The core in Node: it imports nothing from its host, and decides there as it does elsewhere.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";

const target = process.env.CARGO_TARGET_DIR ?? "target";
const bytes = await readFile(`${target}/wasm32-unknown-unknown/release/donjon_wasm_probe.wasm`);
const module = await WebAssembly.compile(bytes);
const { exports: core } = await WebAssembly.instantiate(module, {});

const NOTHING = -1;
const TTL = 10_000;

beforeEach(() => core.start(100));

test("the module imports nothing", () => {
  assert.deepEqual(WebAssembly.Module.imports(module), []);
});

test("a value is there until its time to live ends", () => {
  assert.equal(core.get(1, 1_000), NOTHING);
  assert.equal(core.set(1, 42, TTL, 1_000), 1);
  assert.equal(core.get(1, 1_000 + TTL - 1), 42);
  assert.equal(core.get(1, 1_000 + TTL), NOTHING);
});

test("a time to live of nothing is refused", () => {
  assert.equal(core.set(1, 42, 0, 0), 0);
  assert.equal(core.get(1, 0), NOTHING);
});

test("one load runs at a time, and what it gives is stored", () => {
  const load = core.begin(1, 0);
  assert.equal(core.begin(1, 0), NOTHING);
  assert.equal(core.fill(load, 7, TTL, 5), 1);
  assert.equal(core.get(1, 5), 7);
  assert.equal(core.fill(load, 8, TTL, 6), NOTHING);
});

for (const [name, invalidate] of [
  ["its key", () => core.delete(1, 1)],
  ["a pattern", () => core.invalidate_users(1)],
  ["a tag", () => core.invalidate_tag()],
  ["a value set by hand", () => core.set(1, 9, TTL, 1)],
]) {
  test(`a load is refused after ${name} invalidated it`, () => {
    const load = core.begin(1, 0);
    invalidate();
    assert.equal(core.fill(load, 7, TTL, 2), 0);
    assert.notEqual(core.get(1, 2), 7);
  });
}

test("entries leave by time without being read, and by the bound on their number", () => {
  for (let user = 0; user < 50; user++) core.set(user, user, user < 20 ? 1_000 : TTL, 0);
  assert.equal(core.expire(999), 50n);
  assert.equal(core.expire(1_002), 30n); // the wheel is at most a tick of 1.05 ms late
  for (let user = 0; user < 1_000; user++) core.set(user, user, TTL, 2_000);
  assert.ok(core.expire(2_000) <= 100n);
  assert.ok(core.invalidate_users(2_000) > 0n);
  assert.equal(core.expire(2_000), 0n);
});
