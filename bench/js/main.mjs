// What does donjon cost a JavaScript program, beside what else there is?
//
// Runs the parts one after another, each in processes of their own, and prints what they found. `--rounds` says how often everything
// is timed, `--keys` how many keys a loop goes through.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LIBRARIES } from "./libraries.mjs";
import { OPERATIONS } from "./memory.mjs";
import { figure, goals, machine, median, ratio, table } from "./report.mjs";

const { values: given } = parseArgs({ options: { rounds: { type: "string", default: "15" }, keys: { type: "string", default: "1000" } } });
const [rounds, keys] = [Number(given.rounds), Number(given.keys)];
const CROWD = 200_000;

/** What a script of this folder prints, in a process of its own. */
function run(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return JSON.parse(
    execFileSync(process.execPath, ["--expose-gc", path, ...args.map(String)], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }),
  );
}

/** How many times longer ours takes than the fastest of the others. */
function beside(times, ours) {
  return Math.max(
    ...Object.keys(times)
      .filter((name) => name !== ours)
      .map((name) => ratio(times, ours, name)),
  );
}

const calls = Object.fromEntries(Object.keys(OPERATIONS).map((operation) => [operation, run("memory.mjs", operation, rounds, keys)]));
console.log(`ns a call over ${figure(keys)} keys in random order, median of ${rounds} rounds (and times donjon's)`);
for (const copies of [false, true]) {
  const ours = copies ? "donjon, copies" : "donjon";
  const names = LIBRARIES.filter((library) => library.copies === copies).map((library) => library.name);
  const operations = Object.keys(OPERATIONS).filter((operation) => OPERATIONS[operation].copies === copies);
  const cell = (times, name) =>
    times[name] === undefined ? "–" : `${figure(median(times[name]))} (${figure(ratio(times, name, ours), 2)})`;
  table(
    ["", ...operations],
    names.map((name) => [name, ...operations.map((operation) => cell(calls[operation], name))]),
  );
}
console.log(`\nSettings: ${LIBRARIES.map(({ name, settings }) => `${name}: ${settings}`).join("; ")}.`);

const sizes = Object.fromEntries(LIBRARIES.map(({ name }) => [name, run("size.mjs", name, CROWD)]));
table(
  [`bytes an entry, ${figure(CROWD)} of them, value and key included`, ""],
  Object.entries(sizes).map(([name, bytes]) => [name, figure(bytes)]),
);

const sweep = run("sweep.mjs", CROWD, rounds);
table(
  ["", "ms"],
  Object.entries(sweep).map(([name, times]) => [name, figure(median(times), 1)]),
);

const { rates, cpu, version } = run("redis.mjs", rounds);
const bare = (name) => (name.includes("ioredis") ? "ioredis" : "node-redis");
table(
  ["Redis GET, 100 at once", "a second", "share of the bare client", "of the bare client with JSON.parse", "µs of CPU"],
  Object.entries(rates).map(([name, found]) => [
    name,
    figure(median(found)),
    figure(ratio(rates, name, bare(name)), 2),
    figure(ratio(rates, name, `${bare(name)}, parsed`), 2),
    figure(median(cpu[name]), 2),
  ]),
);

const near = run("near.mjs", rounds, keys);
table(
  [`ns a hit, a copy, over ${figure(keys)} keys`, "in memory", "near Redis", "times"],
  Object.entries(near).map(([call, times]) => [
    call,
    figure(median(times["in memory"])),
    figure(median(times["near Redis"])),
    figure(ratio(times, "near Redis", "in memory"), 2),
  ]),
);

goals([
  ...Object.entries(near).map(([call, times]) => [
    `${call} near Redis, times that in memory`,
    ratio(times, "near Redis", "in memory"),
    "at most",
    1.3,
  ]),
  ["peek by reference, times lru-cache's get", ratio(calls["hit at once, by reference"], "donjon", "lru-cache"), "at most", 2],
  ["getOrSet hit by reference, times the fastest peer's", beside(calls["getOrSet hit, by reference"], "donjon"), "under", 1],
  ["getOrSet hit of a copy, times the fastest peer's", beside(calls["getOrSet hit, a copy"], "donjon, copies"), "under", 1],
  ["get of a copy, times the fastest peer's", beside(calls["get hit, a copy"], "donjon, copies"), "under", 1],
  ["bytes an entry, times lru-cache's", sizes.donjon / sizes["lru-cache"], "at most", 1.4],
  [`1,000 of ${figure(CROWD)} invalidated by pattern, ms`, median(sweep["donjon, 1,000 by pattern"]), "under", 10],
  ["Redis GET, share of node-redis with JSON.parse", ratio(rates, "donjon over node-redis", "node-redis, parsed"), "at least", 0.8],
  ["Redis GET, share of node-redis that parses nothing", ratio(rates, "donjon over node-redis", "node-redis"), "at least", 0.8],
  ["Redis GET, share of ioredis with JSON.parse", ratio(rates, "donjon over ioredis", "ioredis, parsed"), "at least", 0.8],
  ["Redis GET, share of ioredis that parses nothing", ratio(rates, "donjon over ioredis", "ioredis"), "at least", 0.8],
]);
console.log(`\n${machine(version)}`);
