/** A worker as a program might have it: the store is made once, a cache for each request. What to do is in the path. */
import { env } from "cloudflare:workers";
import { createCache } from "./dist/workerd.js";
import { upstash } from "./dist/upstash.workerd.js";

let store;
let loads = 0;

// Outside of any request, where a worker has no randomness and can ask nobody.
const early = createCache({ namespace: "app", store: upstash({ url: env.REST_URL, token: env.REST_TOKEN }) });
early.rules.on("early", { keys: ["early"] });
const tooEarly = early.get("early").catch(({ message }) => message);

const said = [];
const DEEDS = {
  async bytes(cache, key) {
    await cache.set(
      key,
      Uint8Array.from({ length: 256 }, (_, at) => at),
    );
    return [...(await cache.get(key))];
  },
  get: async (cache, key) => (await cache.get(key)) ?? null,
  load: (cache, key, value) =>
    cache.getOrSet(
      key,
      async ({ key }) => {
        loads++;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return `${key}=${value}`;
      },
      {
        ttl: "1m",
        tags: ["t"],
      },
    ),
  stale: (cache, key, value) => cache.getOrSet(key, () => value, { ttl: 30, grace: "1m" }),
  loads: async () => loads,
  remove: async (cache, key) => (await cache.deleteMany([key])).queued,
  sweep: async (cache, pattern) => (await cache.invalidatePattern(pattern)).count,
  untag: async (cache, tag) => (await cache.invalidateTags(tag)).queued,
  async lock(cache, name) {
    await using held = await cache.lock(name, { ttl: "10s" });
    return held.fence > 0;
  },
  subscribe: async (cache, channel) => {
    try {
      cache.subscribe(channel);
    } catch (error) {
      return error.name;
    }
  },
  said: async () => said,
  async early(_, value) {
    await early.set("early", value);
    const before = await early.get("early");
    const { count } = await early.emit("early");
    const lock = await early.lock("early", { ttl: "10s" });
    return [before, count, (await early.get("early")) ?? null, lock.fence > 0];
  },
  tooEarly: () => tooEarly,
};

export default {
  async fetch(request, env, context) {
    store ??= upstash({ url: env.REST_URL, token: env.REST_TOKEN, commandTimeout: Number(env.TIMEOUT) });
    const cache = createCache({
      namespace: "app",
      store,
      waitUntil: (work) => context.waitUntil(work),
      log: (message) => said.push(message),
    });
    const [, deed, ...given] = new URL(request.url).pathname.split("/");
    return Response.json(await DEEDS[deed](cache, ...given.map(decodeURIComponent)));
  },
};
