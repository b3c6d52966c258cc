// Each scenario finds its fault: donjon's adapter with that fault, made on purpose, fails it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RedisServer } from "../../../wasm/test/redis/server.mjs";
import { donjon } from "./libraries/donjon.mjs";
import { Fails, World } from "./library.mjs";
import { SCENARIOS } from "./scenarios.mjs";

/** Keeps what it has read or written, as it is, and hears of nothing. */
function ownMemory(cache) {
  const kept = new Map();
  return {
    async get(key) {
      if (!kept.has(key)) {
        const value = await cache.get(key);
        if (value === undefined) return undefined;
        kept.set(key, value);
      }
      return kept.get(key);
    },
    async set(key, value, options) {
      await cache.set(key, value, options);
      kept.set(key, value);
    },
  };
}

/** Get, load, set; null is not stored where `keepsNull` is false. */
function byHand(cache, keepsNull = true) {
  return {
    async load(key, loader, { tags } = {}) {
      let value = await cache.get(key);
      if (value === undefined) {
        value = await loader();
        if (value !== null || keepsNull) await cache.set(key, value, { tags });
      }
      return value;
    },
  };
}

/** All wait for what the leader waits for, and get its error, an abort too. */
function oneFlight(cache) {
  const flights = new Map();
  return {
    load(key, loader, { signal } = {}) {
      if (!flights.has(key)) {
        const aborted = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
        flights.set(key, Promise.race([cache.load(key, loader), aborted]));
      }
      return flights.get(key);
    },
  };
}

/** Whoever waited for a load that failed loads at once. */
function leadsAfterAnError() {
  const flights = new Map();
  return {
    async load(key, loader) {
      if (flights.has(key)) return await flights.get(key).catch(loader);
      flights.set(key, loader());
      try {
        return await flights.get(key);
      } finally {
        flights.delete(key);
      }
    },
  };
}

/** A tag is the time of the host that invalidates it; asked for once, where `once`. */
function tagsByTime(cache, once = false) {
  let known;
  return {
    async get(key) {
      const found = await cache.get(key);
      if (found === undefined) return undefined;
      if (known === undefined || !once) known = (await cache.get(`tag:${found.tags[0]}`)) ?? 0;
      return known > found.at ? undefined : found.value;
    },
    set: (key, value, { tags }) => cache.set(key, { value, at: Date.now() - 1, tags }),
    invalidateTag: (tag) => cache.set(`tag:${tag}`, Date.now()),
  };
}

const taken = new Set();

/** By the scenario that has to find it: which calls have the fault. */
const FAULTY = {
  1: byHand,
  2: oneFlight,
  3: leadsAfterAnError,
  4: byHand,
  5: (cache, server) => ({
    async set(key, value, options) {
      await cache.set(key, value, options);
      for (const tag of options.tags) await server.ask("SADD", `${cache.namespace}:the-keys-of:${tag}`, key);
    },
  }),
  6: ownMemory,
  7: (cache) => ({
    async invalidatePattern(pattern) {
      for (const key of ["a.b1", "axb1", "c"]) if (new RegExp(pattern.replace("*", ".*")).test(key)) await cache.delete(key);
    },
  }),
  9: (cache) => ({ load: (...call) => cache.load(...call).catch(() => undefined) }),
  10: ownMemory,
  11: (cache) => byHand(cache, false),
  12: (_cache, server) => ({ clear: () => server.ask("FLUSHDB") }),
  13: ownMemory,
  15: () => ({
    lock: async (name) => (taken.has(name) ? undefined : taken.add(name) && name),
    unlock: async (name) => taken.delete(name),
  }),
  16: ownMemory,
  17: ownMemory,
  18: (cache) => tagsByTime(cache),
  19: (cache) => tagsByTime(cache, true),
  20: (cache) => ({
    async load(key, loader) {
      const found = await cache.get(key);
      if (found !== undefined) return found;
      const value = await loader();
      await cache.set(key, value);
      return value;
    },
  }),
};

describe("a fault that is there is found", { concurrency: 6 }, () => {
  for (const [number, faults] of Object.entries(FAULTY)) {
    test(`T${number}`, async (t) => {
      const server = await RedisServer.start();
      t.after(() => server.close());
      const faulty = {
        ...donjon,
        async open(backend, url, namespace) {
          const cache = await donjon.open(backend, url, namespace);
          return { ...cache, ...faults({ ...cache, namespace }, server) };
        },
      };
      const world = new World(faulty, faults === ownMemory ? "near" : "redis", server, `t${number}`);
      // It is waited for in vain, so not for as long as where it is hoped for.
      Object.assign(world, { patience: 300, enough: 1 });
      t.after(() => world.close());
      await assert.rejects(SCENARIOS.get(Number(number))(world), Fails);
    });
  }
});
