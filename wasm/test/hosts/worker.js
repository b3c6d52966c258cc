// Runs the suite in a worker, whose answers are data.

import { createCache } from "donjon";
import { runAll } from "../suite/index.js";

// Where a program makes its cache: outside of any request, where such a host allows neither timers nor randomness.
const cache = createCache();

const ANSWERS = {
  "/suite": async (request) => runAll(await request.json()),
  "/lock": async () => {
    const lock = await cache.lock("job", { ttl: "1m" });
    await cache.set("k", 1);
    const other = await cache.lock("job", { ttl: "1m", wait: 0 }).catch(({ name }) => name);
    await lock.release();
    return other;
  },
  "/set": async () => cache.set("k", "from another request", { ttl: 1_000 }),
  "/get": async () => cache.get("k"),
  "/size": async () => cache.size,
  "/other": async () => cache.set("other", 1, { ttl: "1h" }),
};

export default {
  async fetch(request) {
    const answer = await ANSWERS[new URL(request.url).pathname](request);
    return Response.json(answer ?? null);
  },
};
