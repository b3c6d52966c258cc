// What does a GET cost over Redis, a hundred at once, beside the client alone?
//
// Starts a redis-server of its own on the loopback, without persistence. In each round every contender has a fresh process, in changing
// order. donjon has a connection of its own, made by the client that it was given; its values are read, judged and parsed. The bare
// client's are given out as they came, or parsed by `JSON.parse`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createCache } from "../../wasm/dist/inline.js";
import { redis } from "../../wasm/dist/redis.js";
import { user } from "./libraries.mjs";
import { startServer } from "./redis-server.mjs";

const AT_ONCE = 100;

/** Milliseconds that calls are made before they are timed, and again while they are. */
const SLICE = 500;

const VALUE = user(1);

// Its timer for each command is off, as donjon has it: it takes half of the client's speed.
const nodeRedis = (port) =>
  createClient({ url: `redis://127.0.0.1:${port}`, commandOptions: { timeout: undefined } }).on("error", () => undefined);
const ioredis = (port) => new Redis({ host: "127.0.0.1", port });
const cache = (client) => createCache({ namespace: "bench", store: redis(client) });

/** By a port, the call that is timed. */
const CONTENDERS = {
  "node-redis": async (port) => {
    const client = await nodeRedis(port).connect();
    return () => client.get("plain");
  },
  "node-redis, parsed": async (port) => {
    const client = await nodeRedis(port).connect();
    return async () => JSON.parse(await client.get("plain"));
  },
  "donjon over node-redis": (port) => {
    const over = cache(nodeRedis(port));
    return () => over.get("user:1");
  },
  ioredis: (port) => {
    const client = ioredis(port);
    return () => client.get("plain");
  },
  "ioredis, parsed": (port) => {
    const client = ioredis(port);
    return async () => JSON.parse(await client.get("plain"));
  },
  "donjon over ioredis": (port) => {
    const over = cache(ioredis(port));
    return () => over.get("user:1");
  },
};

/** A server on a free port, with what is read; ended by what it gives. */
async function server() {
  const { port, end } = await startServer();
  const client = await nodeRedis(port).connect();
  await client.set("plain", JSON.stringify(VALUE));
  await cache(client).set("user:1", VALUE);
  const version = /redis_version:(\S+)/.exec(await client.info("server"))[1];
  return { port, version, end };
}

/** Calls a second, `AT_ONCE` under way at any time, and microseconds of CPU for each. */
async function rate(call) {
  const start = performance.now();
  const used = process.cpuUsage();
  let count = 0;
  const caller = async () => {
    while (performance.now() - start < SLICE) {
      for (let at = 0; at < 20; at++) await call();
      count += 20;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  const { user, system } = process.cpuUsage(used);
  return { rate: count / ((performance.now() - start) / 1_000), cpu: (user + system) / count };
}

/** What one process finds of one contender. */
async function timed(name, port) {
  const call = await CONTENDERS[name](port);
  const given = await call();
  assert.deepEqual(typeof given === "string" ? JSON.parse(given) : given, VALUE, name);
  await rate(call);
  return rate(call);
}

async function measure(rounds) {
  const { port, version, end } = await server();
  try {
    const names = Object.keys(CONTENDERS);
    const [rates, cpu] = [{}, {}];
    for (let turn = 0; turn < rounds; turn++) {
      for (let at = 0; at < names.length; at++) {
        const name = names[(turn + at) % names.length];
        const found = JSON.parse(execFileSync(process.execPath, [fileURLToPath(import.meta.url), name, `${port}`]));
        (rates[name] ??= []).push(found.rate);
        (cpu[name] ??= []).push(found.cpu);
      }
    }
    return { rates, cpu, version };
  } finally {
    end();
  }
}

const [what, port] = process.argv.slice(2);
console.log(JSON.stringify(port === undefined ? await measure(Number(what)) : await timed(what, Number(port))));
process.exit();
