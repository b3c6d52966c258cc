// donjon under its own list of faults, on each of its backends: none of them is there.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RedisServer } from "../../../wasm/test/redis/server.mjs";
import { donjon } from "./libraries/donjon.mjs";
import { NoSuchThing, World } from "./library.mjs";
import { SCENARIOS } from "./scenarios.mjs";

// What a backend has nothing of: HTTP and code in values no backend has in JavaScript, memory shares nothing, Redis alone has no memory.
const NOTHING = { memory: [6, 8, 10, 14, 16, 18, 19], redis: [6, 8, 10, 14, 16], near: [8, 14] };

let server;
before(async () => {
  server = await RedisServer.start();
});
after(() => server.close());

for (const [backend, nothing] of Object.entries(NOTHING)) {
  describe(`the faults of other caches, on ${backend}`, () => {
    for (const [number, scenario] of SCENARIOS) {
      test(`T${number} is not there`, async (t) => {
        const world = new World(donjon, backend, backend === "memory" ? undefined : server, `t${number}-${backend}`);
        t.after(() => world.close());
        if (nothing.includes(number)) await assert.rejects(scenario(world), NoSuchThing);
        else assert.equal(await scenario(world), undefined);
      });
    }
  });
}
