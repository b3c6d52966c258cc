// What does a GET cost over Redis, a hundred at once, beside the client alone?
//
// Starts a redis-server of its own on the loopback, without persistence. In each round every contender runs one slice, in changing
// order. donjon has connections of its own, made by the client that it was given; its values are read, judged and parsed. The bare
// client's are given out as they came, or parsed by `JSON.parse`.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createCache } from "../../wasm/dist/inline.js";
import { redis } from "../../wasm/dist/redis.js";
import { user } from "./libraries.mjs";

const AT_ONCE = 100;

/** Milliseconds that a slice takes. */
const SLICE = 200;

const program = ["redis-server", "valkey-server"].find((name) => spawnSync(name, ["--version"]).error === undefined);

/** A server on a free port, ended by what it gives. */
async function server() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  const process = spawn(program, ["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no"], { stdio: "ignore" });
  return { port, end: () => process.kill() };
}

/** Calls a second, `AT_ONCE` under way at any time. */
async function rate(call) {
  const start = performance.now();
  let count = 0;
  const caller = async () => {
    while (performance.now() - start < SLICE) {
      for (let at = 0; at < 20; at++) await call();
      count += 20;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  return count / ((performance.now() - start) / 1_000);
}

async function measure(rounds) {
  const { port, end } = await server();
  try {
    // Its timer for each command is off, as donjon has it: it takes half of the client's speed.
    const node = createClient({ url: `redis://127.0.0.1:${port}`, commandOptions: { timeout: undefined } });
    node.on("error", () => undefined);
    await node.connect();
    const io = new Redis({ port, host: "127.0.0.1" });
    const overNode = createCache({ namespace: "bench", store: redis(node) });
    const overIo = createCache({ namespace: "bench", store: redis(io) });
    const value = user(1);
    const text = JSON.stringify(value);
    await node.set("plain", text);
    await overNode.set("user:1", value);
    const contenders = {
      "node-redis": () => node.get("plain"),
      "node-redis, parsed": async () => JSON.parse(await node.get("plain")),
      "donjon over node-redis": () => overNode.get("user:1"),
      ioredis: () => io.get("plain"),
      "ioredis, parsed": async () => JSON.parse(await io.get("plain")),
      "donjon over ioredis": () => overIo.get("user:1"),
    };
    for (const [name, call] of Object.entries(contenders)) {
      const given = await call();
      assert.deepEqual(typeof given === "string" ? JSON.parse(given) : given, value, name);
      await rate(call);
    }
    const names = Object.keys(contenders);
    const rates = Object.fromEntries(names.map((name) => [name, []]));
    for (let turn = 0; turn < rounds; turn++) {
      for (let at = 0; at < names.length; at++) {
        const name = names[(turn + at) % names.length];
        rates[name].push(await rate(contenders[name]));
      }
    }
    return { rates, version: /redis_version:(\S+)/.exec(await node.info("server"))[1] };
  } finally {
    end();
  }
}

if (program === undefined) {
  console.error("the benchmark needs redis-server.\n  On Debian and Ubuntu: apt-get install redis-server");
  process.exit(1);
}
console.log(JSON.stringify(await measure(Number(process.argv[2]))));
process.exit();
