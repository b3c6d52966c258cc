// cache-manager, as its README has it: stores of Keyv, the quicker one first.

import KeyvRedis from "@keyv/redis";
import { createCache } from "cache-manager";
import { KeyvCacheableMemory } from "cacheable";
import { Keyv } from "keyv";
import { version } from "../version.mjs";

export const cacheManager = {
  name: "cache-manager",
  version: version("cache-manager"),
  backends: {
    memory: "`createCache({ stores: [new Keyv({ store: new KeyvCacheableMemory() })] })`",
    redis: "`createCache({ stores: [new Keyv(new KeyvRedis(url), { namespace })] })`",
    near: "both stores, memory first",
  },

  async open(backend, url, namespace) {
    const stores = [];
    if (backend !== "redis") stores.push(new Keyv({ store: new KeyvCacheableMemory({ ttl: 60_000 }), namespace }));
    if (backend !== "memory") stores.push(new Keyv(new KeyvRedis(url), { namespace }));
    const cache = createCache({ stores, ttl: 60_000 });
    return {
      get: (key) => cache.get(key),
      set: (key, value, { ttl } = {}) => cache.set(key, value, ttl),
      load: (key, loader) => cache.wrap(key, loader),
      delete: (key) => cache.del(key),
      clear: () => cache.clear(),
      close: () => cache.disconnect(),
    };
  },
};
