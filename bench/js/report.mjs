// Makes tables of what was found, and says what was reached.

import { readFileSync } from "node:fs";
import os from "node:os";

/** The middle of some numbers. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** How many times the one is the other: the median over rounds. */
export function ratio(times, over, under) {
  return median(times[over].map((time, round) => time / times[under][round]));
}

export function figure(number, digits = 0) {
  return number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Prints Markdown. */
export function table(head, lines) {
  console.log(`\n| ${head.join(" | ")} |\n|${"---|".repeat(head.length)}`);
  for (const line of lines) console.log(`| ${line.join(" | ")} |`);
}

/** Says of each goal whether it was reached: a sentence, the figure, how it must compare, and with what. */
export function goals(all) {
  console.log("");
  for (const [sentence, found, how, limit] of all) {
    const reached = { under: found < limit, "at most": found <= limit, "at least": found >= limit }[how];
    console.log(`${(reached ? "reached" : "NOT reached").padEnd(12)}${sentence}: ${figure(found, 2)} (goal: ${how} ${figure(limit, 2)})`);
  }
}

/** The processor, the host and the versions of what was measured, in one line: figures mean nothing without it. */
export function machine(redis) {
  const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
  const versions = Object.entries(dependencies).map(([name, version]) => `${name === "redis" ? "node-redis" : name} ${version}`);
  return `${os.cpus()[0].model}, ${os.cpus().length} cores, ${os.type()}; Node ${process.versions.node}; Redis ${redis}; ${versions.join(", ")}`;
}
