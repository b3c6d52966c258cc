// The clock of memory in front of Redis, which counts on while the machine is suspended, by clocks that a test moves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: [new URL("../ts/redis/steady.ts", import.meta.url).pathname],
  bundle: true,
  format: "esm",
  write: false,
});
const { SteadyClock } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);

/** A clock, and what moves the host's two: the steady one stands still while the machine is suspended, that of the wall may be set. */
function clock(t) {
  let [wall, steady] = [1_800_000_000_000, 5_000];
  t.mock.method(Date, "now", () => Math.floor(wall));
  t.mock.method(performance, "now", () => steady);
  return {
    clock: new SteadyClock(),
    pass: (ms) => ([wall, steady] = [wall + ms, steady + ms]),
    suspend: (ms) => (wall += ms),
    set: (ms) => (wall += ms),
  };
}

test("it goes as the host's steady clock does", (t) => {
  const { clock: told, pass } = clock(t);
  const begun = told.now();
  for (const ms of [1, 0.25, 500, 3_600_000]) {
    const before = told.now();
    pass(ms);
    assert.ok(told.now() >= before);
  }
  assert.ok(Math.abs(told.now() - begun - 3_600_501.25) <= 1);
});

test("it counts on while the machine is suspended", (t) => {
  const { clock: told, pass, suspend } = clock(t);
  const begun = told.now();
  pass(100);
  suspend(60_000);
  assert.ok(told.now() - begun >= 60_100 - 1);
  suspend(60_000);
  pass(100);
  assert.ok(told.now() - begun >= 120_200 - 1);
});

test("it does not go back where the clock of the wall is set back, and is moved by none that is kept right bit by bit", (t) => {
  const { clock: told, pass, set } = clock(t);
  const begun = told.now();
  pass(100);
  set(-3_600_000);
  assert.ok(told.now() - begun >= 99);
  for (let times = 0; times < 1_000; times++) {
    pass(500);
    set(1);
    told.now();
  }
  assert.ok(Math.abs(told.now() - begun - 500_100) <= 1);
});
