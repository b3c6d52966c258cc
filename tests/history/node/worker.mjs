/**
 * One process of the history test: tasks that read, write and invalidate at random, and write down what they did.
 *
 *     node worker.mjs PLAN LOG SEED redis|rest|near|near-ioredis|timed-rest
 *
 * Runs on the built package, over node-redis, over Upstash's REST protocol, or with memory in front: of Redis over either client, or of
 * REST, for a second. It runs until its standard input ends, as it does when the harness dies. The workers in Python and Rust beside it do the same.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { createCache } from "../../../wasm/dist/inline.js";
import { memory } from "../../../wasm/dist/near.js";
import { redis } from "../../../wasm/dist/redis.js";
import { upstash } from "../../../wasm/dist/upstash.js";
import { TOKEN } from "../../../wasm/test/upstash/rest-server.mjs";
import { Chance } from "./chance.mjs";
import { FAILED, Log, OK, QUEUED, now } from "./log.mjs";
import { Source } from "./source.mjs";

const require = createRequire(new URL("../../../wasm/package.json", import.meta.url));
const { createClient } = require("redis");
const { Redis } = require("ioredis");

const COUNT_EVERY = 0.25;
const END_WITHIN = 15;
const WEIGH_EVERY = 10;
const LEAVE_WITHIN = 0.03;
const PASSING = 1_000;
const WAYS = { get_or_set: 10, cached: 3, lookup: 3, get_or_set_many: 2, get: 2, get_many: 1, force_refresh: 1 };
/** How many of the reads memory in front may answer, of those that it may. */
const LOCAL = 0.7;
const TARGETS = { key: 12, keys: 3, pattern: 3, tag: 4, clear: 1 };

/** The source could not be read, as the plan has it now and then. */
class LoadFailed extends Error {}

/** A caller went away. */
class Left extends Error {}

class Worker {
  #plan;
  #cache;
  #log;
  #chance;
  #source;
  #keys;
  #cached;
  /** How reads are called that memory may answer; `undefined` where there is none. */
  #front;
  #isOver = false;

  constructor(plan, store, log, seed, front) {
    this.#plan = plan;
    this.#front = front;
    this.#cache = createCache({ namespace: plan.namespace, store, log: () => undefined, mode: "strong" });
    this.#log = log;
    this.#chance = new Chance(seed);
    this.#keys = Object.keys(plan.keys);
    this.#source = new Source(plan.source, this.#keys);
    this.#cached = this.#cache.wrap((number) => this.#load(`c:${number}`), {
      key: (number) => ["c", number],
      ttl: plan.keys["c:0"].ttl * 1_000,
    });
  }

  /** Works until the input ends. */
  async run() {
    const ended = new Promise((resolve) => process.stdin.on("end", resolve).resume());
    // By timers: a race against what lives as long as the run leaves something on it each time.
    const timers = [setInterval(() => this.#count(), COUNT_EVERY * 1_000), setInterval(() => this.#weigh(), WEIGH_EVERY * 1_000)];
    const tasks = Promise.all(Array.from({ length: this.#plan.tasks }, () => this.#work()));
    await Promise.race([ended, tasks]);
    this.#isOver = true;
    await Promise.race([
      tasks,
      sleep(END_WITHIN * 1_000, undefined, { ref: false }).then(() => {
        throw new Error(`the tasks did not end within ${END_WITHIN} s`);
      }),
    ]);
    timers.forEach(clearInterval);
    this.#count();
    await this.#cache.close();
  }

  async #work() {
    while (!this.#isOver) {
      const draw = this.#chance.draw();
      if (draw < this.#plan.writes) await this.#write();
      else if (draw < this.#plan.writes + this.#plan.passing) await this.#pass();
      else await this.#read();
      await sleep(this.#chance.draw() * this.#plan.rest * 1_000);
    }
  }

  async #read() {
    const way = this.#chance.weighed(WAYS);
    const keys = this.#chance.some(this.#keys, 3);
    const isLocal = this.#front !== undefined && way !== "force_refresh" && way !== "cached" && this.#chance.happens(LOCAL);
    const name = isLocal ? `${this.#front} ${way}` : way;
    const begun = now();
    let rows;
    try {
      rows = await this.#unlessLeft((signal) => this.#found(way, keys, isLocal ? "local" : "strong", signal));
    } catch (error) {
      if (!(error instanceof LoadFailed || error instanceof Left)) this.#log.fault(name, error);
      return;
    }
    const ended = now();
    for (const [key, row] of rows) this.#log.read(begun, ended, key, row.version, name);
  }

  /** A read of a key that nobody reads again: what is held for it has to leave without being asked for. */
  async #pass() {
    const mode = this.#front === undefined ? "strong" : "local";
    try {
      await this.#cache.getOrSet(`passing:${crypto.randomUUID()}`, () => "", { ttl: PASSING, tags: ["passing"], mode });
    } catch (error) {
      this.#log.fault("passing", error);
    }
  }

  /** What the cache has, or loads, for the keys. A way that takes one key reads the first. */
  async #found(way, keys, mode, signal) {
    const [key] = keys;
    const { ttl, grace, tags } = this.#plan.keys[key];
    const terms = { ttl: ttl * 1_000, grace: grace * 1_000, tags };
    switch (way) {
      case "get": {
        const row = await this.#cache.get(key, { mode });
        return row === undefined ? [] : [[key, row]];
      }
      case "get_many":
        return this.#cache.getMany(keys, { mode });
      case "get_or_set_many": {
        const alike = keys.filter((each) => JSON.stringify(this.#plan.keys[each]) === JSON.stringify(this.#plan.keys[key]));
        const load = async (missing) => {
          const rows = new Map();
          for (const each of missing) rows.set(each, await this.#load(each));
          return rows;
        };
        return this.#cache.getOrSetMany(alike, load, { ...terms, signal, mode });
      }
      case "lookup": {
        const found = await this.#cache.lookup(key, { signal, mode });
        if (found.isHit) return [[key, found.value]];
        try {
          return [[key, (await found.fill(await this.#load(key), terms)).value]];
        } finally {
          found.abandon();
        }
      }
      case "cached": {
        const number = key.slice(2);
        return [[`c:${number}`, await this.#cached(number)]];
      }
      default:
        return [
          [key, await this.#cache.getOrSet(key, () => this.#load(key), { ...terms, signal, mode, forceRefresh: way === "force_refresh" })],
        ];
    }
  }

  /** A query that sees the row at some moment, and whose answer arrives later. */
  async #load(key) {
    await sleep(this.#chance.delay() * 1_000);
    if (this.#chance.happens(this.#plan.failing)) throw new LoadFailed(key);
    const version = this.#source.version(key);
    await sleep(this.#chance.delay() * 1_000);
    return { version };
  }

  async #write() {
    const kind = this.#chance.weighed(TARGETS);
    const [names, covered] = this.#target(kind);
    for (const key of this.#chance.some(covered, 1 + Math.floor(this.#chance.draw() * 3))) this.#source.write(key);
    const versions = Object.fromEntries(covered.map((key) => [key, this.#source.version(key)]));
    const begun = now();
    let outcome;
    try {
      outcome = (await this.#unlessLeft(() => this.#invalidate(kind, names))).queued ? QUEUED : OK;
    } catch (error) {
      if (!(error instanceof Left)) this.#log.fault(kind, error);
      outcome = FAILED;
    }
    this.#log.invalidation(begun, now(), [kind, ...names].join(" "), outcome, versions);
  }

  #invalidate(kind, names) {
    if (kind === "pattern") return this.#cache.invalidatePattern(names[0]);
    if (kind === "tag") return this.#cache.invalidateTags(...names);
    if (kind === "clear") return this.#cache.clear();
    return this.#cache.deleteMany(names);
  }

  /** What a call gives, unless its caller goes away before. */
  async #unlessLeft(call) {
    if (!this.#chance.happens(this.#plan.leaving)) return call(undefined);
    const leaving = new AbortController();
    const called = call(leaving.signal);
    // Whoever is gone does not hear how it ends.
    called.catch(() => undefined);
    const left = sleep(this.#chance.draw() * LEAVE_WITHIN * 1_000).then(() => {
      throw new Left();
    });
    try {
      return await Promise.race([called, left]);
    } catch (error) {
      leaving.abort(error);
      throw error;
    } finally {
      left.catch(() => undefined);
    }
  }

  /** What to name, and the keys which that covers. */
  #target(kind) {
    if (kind === "clear") return [[], this.#keys];
    if (kind === "key" || kind === "keys") {
      const names = this.#chance.some(this.#keys, kind === "key" ? 1 : 3);
      return [names, names];
    }
    const covers = kind === "pattern" ? this.#plan.patterns : this.#plan.tags;
    const name = this.#chance.one(Object.keys(covers));
    return [[name], covers[name]];
  }

  /** What is alive, without the garbage: twice, as what is told of the first collection lets go of more. */
  async #weigh() {
    collectGarbage();
    await sleep(1);
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    this.#log.alive(heapUsed + external);
  }

  #count() {
    const { hits, memoryHits, misses, stale, loads, loadFailures, loadsRefused, stores, takeovers, undecodable } = this.#cache.stats();
    this.#log.counters({
      hits,
      memory_hits: memoryHits,
      misses,
      stale,
      loads,
      load_failures: loadFailures,
      loads_refused: loadsRefused,
      stores,
      takeovers,
      undecodable,
    });
  }
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

/** The ways to the server, from the cache's stores to the sockets. */
const STORES = {
  redis: async ({ url }) => redis(createClient({ url })),
  near: async ({ url }) => redis(createClient({ url }), { near: true }),
  "near-ioredis": async ({ url }) => redis(new Redis(url, { lazyConnect: true }), { near: true }),
  rest: async (plan) => overRest(plan, undefined),
  "timed-rest": async (plan) => overRest(plan, memory({ ttl: "1s" })),
};

async function overRest(plan, near) {
  const server = spawn(process.execPath, [fileURLToPath(new URL("rest.mjs", import.meta.url)), plan.url], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [url] = await once(createInterface(server.stdout), "line");
  return upstash({ url, token: TOKEN, commandTimeout: 250, near });
}

const [planFile, logFile, seed, store] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));
const front = /^(near|timed)\b/.exec(store)?.[0];
await new Worker(plan, await STORES[store](plan), new Log(logFile), seed, front).run();
process.exit();
