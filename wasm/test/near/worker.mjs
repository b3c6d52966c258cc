/** A worker whose caches last for a request, and the memory in front of their stores for as long as the worker does. */
import { createCache } from "./dist/workerd.js";
import { kv } from "./dist/kv.workerd.js";
import { memory } from "./dist/near.workerd.js";
import { upstash } from "./dist/upstash.workerd.js";

const near = memory({ ttl: 500 });
let overRedis;

const STORES = {
  upstash: ({ REST_URL, REST_TOKEN }) => (overRedis ??= upstash({ url: REST_URL, token: REST_TOKEN, commandTimeout: 10_000, near })),
  kv: ({ CACHE }) => kv(CACHE, { near }),
};

const DEEDS = {
  get: async (cache, key) => (await cache.get(key)) ?? null,
  strong: async (cache, key) => (await cache.get(key, { mode: "strong" })) ?? null,
  peek: async (cache, key) => cache.peek(key) ?? null,
  load: (cache, key, value) => cache.getOrSet(key, () => value),
  remove: async (cache, key) => (await cache.deleteMany([key])).queued,
};

export default {
  async fetch(request, env, context) {
    const [, over, deed, ...given] = new URL(request.url).pathname.split("/");
    const cache = createCache({ namespace: "app", store: STORES[over](env), waitUntil: (work) => context.waitUntil(work) });
    return Response.json(await DEEDS[deed](cache, ...given.map(decodeURIComponent)));
  },
};
