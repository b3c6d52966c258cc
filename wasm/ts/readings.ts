/**
 * Readings: what a call has written of a key, and of the counters.
 */
import type { Core } from "./core.js";
import type { Explained, Stats } from "./tier.js";

/** What a call has written of a key. */
export function readExplained(core: Core, tier: string): Explained {
  const state = core.readText() as Explained["state"];
  const whyAbsent = core.readText();
  const numbers = Array.from({ length: 7 }, () => core.readNumber());
  const [age, freshFor, usableFor, loadTime, bytes, loadingFor, removedAgo] = numbers.map((number) =>
    Number.isNaN(number) ? undefined : number,
  );
  const tags = Array.from({ length: core.readCount() }, () => core.readText());
  return {
    tier: state === "absent" ? undefined : tier,
    state,
    whyAbsent: whyAbsent === "" ? undefined : whyAbsent,
    age,
    freshFor,
    usableFor,
    loadTime,
    bytes,
    loadingFor,
    removedAgo,
    tags,
  };
}

const COUNTS = [
  "hits",
  "stale",
  "misses",
  "loads",
  "loadFailures",
  "loadsRefused",
  "stores",
  "evictions",
  "expirations",
  "invalidations",
  "replacements",
  "tooLarge",
  "takeovers",
  "foreign",
  "faults",
  "queued",
  "entries",
  "bytes",
  "flights",
  "loadTime",
  "hitRate",
  "missRate",
] as const;

/** What a call has written of the counters. */
export function readStats(core: Core, own: Pick<Stats, "memoryHits" | "undecodable" | "staleOnError" | "restarts">): Stats {
  const counts = Object.fromEntries(COUNTS.map((name) => [name, core.readNumber()]));
  return { ...counts, ...own } as unknown as Stats;
}

/** What memory in front has counted: what it shares with the tier behind is the sum of both, of the rest it is its own. */
export function readNearStats(
  core: Core,
): Pick<Stats, "hits" | "stale" | "memoryHits" | "hitRate" | "missRate" | "evictions" | "expirations" | "entries" | "bytes"> {
  const [hits, stale, memoryHits, hitRate, missRate, evictions, expirations, entries, bytes] = Array.from({ length: 9 }, () =>
    core.readNumber(),
  ) as [number, number, number, number, number, number, number, number, number];
  return { hits, stale, memoryHits, hitRate, missRate, evictions, expirations, entries, bytes };
}
