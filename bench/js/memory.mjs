// What does a cache in this process's memory cost, a call?
//
// Times `for (const key of keys) await cache.get(key)` and its like: the loop, the `await` and the call are part of every figure,
// and nothing is subtracted. Each operation has a process of its own; in each of its rounds every library runs one slice, in changing
// order. A figure is the median over rounds; a ratio is the median of the ratios within rounds, so that what slows the machine for a
// while slows both sides.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { LIBRARIES, loop, once, user } from "./libraries.mjs";

/** Nanoseconds that a slice takes, about. */
const SLICE = 10_000_000;

/** By reference: what one caller changes the next one sees. Copies: each has its own. */
export const OPERATIONS = {
  "hit at once, by reference": { call: "peek", copies: false },
  "hit at once, a copy": { call: "peek", copies: true },
  "get hit, by reference": { call: "get", copies: false },
  "get hit, a copy": { call: "get", copies: true },
  "getOrSet hit, by reference": { call: "getOrSet", copies: false },
  "getOrSet hit, a copy": { call: "getOrSet", copies: true },
  "set, by reference": { call: "set", copies: false },
  "set, a copy": { call: "set", copies: true },
};

/** Nanoseconds a call, by library and round. */
async function measure(operation, rounds, count) {
  const { call, copies } = OPERATIONS[operation];
  const keys = shuffled(Array.from({ length: count }, (_, n) => `user:${n}`));
  const values = keys.map((key) => user(Number(key.split(":")[1])));
  const runs = {};
  for (const library of LIBRARIES.filter((library) => library[call] !== undefined && library.copies === copies)) {
    const cache = library.open(2 * count);
    if (library.set === undefined) for (const key of keys) await once(library[call], cache, key);
    else await loop(library.set, cache, keys, values)();
    if (call !== "set") await check(library, call, cache, keys[0]);
    const run = loop(library[call], cache, keys, values);
    for (let pass = 0; pass * count < 20_000; pass++) await run();
    runs[library.name] = { run, passes: Math.max(1, Math.round(SLICE / ((await timed(run, 1, 1)) * count))) };
  }
  const names = Object.keys(runs);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let turn = 0; turn < rounds; turn++) {
    for (let at = 0; at < names.length; at++) {
      const name = names[(turn + at) % names.length];
      times[name].push(await timed(runs[name].run, runs[name].passes, count));
    }
  }
  return times;
}

/** The library answers what was put in, and keeps callers apart where it is said to. */
async function check(library, call, cache, key) {
  const expected = user(Number(key.split(":")[1]));
  const first = await once(library[call], cache, key);
  assert.deepEqual(first, expected, library.name);
  first.roles.push("changed");
  const second = await once(library[call], cache, key);
  assert.equal(second.roles.length === 2, library.copies, `${library.name}: copies`);
  if (!library.copies) first.roles.pop();
}

async function timed(run, passes, count) {
  const start = process.hrtime.bigint();
  for (let pass = 0; pass < passes; pass++) await run();
  return Number(process.hrtime.bigint() - start) / (passes * count);
}

function shuffled(list) {
  for (let at = list.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [list[at], list[other]] = [list[other], list[at]];
  }
  return list;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [operation, rounds, count] = process.argv.slice(2);
  console.log(JSON.stringify(await measure(operation, Number(rounds), Number(count))));
  process.exit();
}
