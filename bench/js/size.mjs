// What does an entry take, of all that the process has: its heap, and what it has outside of it?
//
// Each library has a process of its own, which puts in 200,000 entries with a time to live, each made anew, and collects garbage
// before and after. Prints bytes an entry, WebAssembly's memory included.

import { setImmediate as turn } from "node:timers/promises";
import { LIBRARIES, loop, once, user } from "./libraries.mjs";

const { gc } = globalThis;

async function held() {
  for (let at = 0; at < 3; at++) {
    gc();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const [name, count] = process.argv.slice(2);
const library = LIBRARIES.find((library) => library.name === name);
const cache = library.open(Number(count));
const fill = async (from, to) => {
  const numbers = Array.from({ length: to - from }, (_, n) => from + n);
  const keys = numbers.map((n) => `user:${n}`);
  if (library.set === undefined) for (const key of keys) await once(library.getOrSet, cache, key);
  else await loop(library.set, cache, keys, numbers.map(user))();
};
const before = await held();
for (let from = 0; from < Number(count); from += 1_000) await fill(from, from + 1_000);
const after = await held();
console.log((after - before) / Number(count));
// It must not be collected before it was weighed.
await once(library.peek ?? library.get ?? library.getOrSet, cache, "user:1");
process.exit();
