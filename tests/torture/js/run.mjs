// Runs the scenarios against the libraries of JavaScript, and prints what came of it as JSON. Names on the command line are those to run.

import { randomUUID } from "node:crypto";
import { RedisServer } from "../../../wasm/test/redis/server.mjs";
import { bentocache } from "./libraries/bentocache.mjs";
import { cacheManager } from "./libraries/cache-manager.mjs";
import { cacheable } from "./libraries/cacheable.mjs";
import { donjon } from "./libraries/donjon.mjs";
import { lruCache } from "./libraries/lru-cache.mjs";
import { Fails, NoSuchThing, World } from "./library.mjs";
import { SCENARIOS } from "./scenarios.mjs";

const LIBRARIES = [donjon, bentocache, cacheable, cacheManager, lruCache];
const LIMIT = 60_000;

/** `holds`, `fails` or `none`, and a word on it. */
async function verdict(number, library, backend, server) {
  const world = new World(library, backend, backend === "memory" ? undefined : server, `t${number}-${randomUUID().slice(0, 8)}`);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came of it in ${LIMIT} ms`)), LIMIT);
  });
  try {
    return ["holds", (await Promise.race([SCENARIOS.get(number)(world), late])) ?? ""];
  } catch (error) {
    if (error instanceof NoSuchThing) return ["none", error.message];
    if (error instanceof Fails) return ["fails", error.message];
    // What a peer throws in the midst is for whoever reads this to judge.
    console.error(error);
    return ["error", String(error)];
  } finally {
    clearTimeout(timer);
    await world.close();
  }
}

const found = [];
for (const library of LIBRARIES) {
  if (process.argv.length > 2 && !process.argv.includes(library.name)) continue;
  const verdicts = {};
  for (const backend of Object.keys(library.backends)) {
    // One for each, so that none sees what another left.
    const server = await RedisServer.start();
    verdicts[backend] = {};
    for (const number of SCENARIOS.keys()) {
      await server.ask("FLUSHALL");
      verdicts[backend][number] = await verdict(number, library, backend, server);
      console.error(library.name, backend, `T${number}`, ...verdicts[backend][number]);
    }
    await server.close();
  }
  found.push({ name: library.name, version: library.version, backends: library.backends, verdicts });
}
console.log(JSON.stringify(found));
// A peer may have left a timer or a connection.
process.exit();
