// donjon, as `docs/javascript.md` has it.

import { readFileSync } from "node:fs";
import { createCache, LockTimeoutError } from "../../../../wasm/dist/inline.js";
import { redis } from "../../../../wasm/dist/redis.js";
import { CLIENTS, FIRST, PATIENT } from "../../../../wasm/test/redis/kit.mjs";

export const donjon = {
  name: "donjon",
  version: JSON.parse(readFileSync(new URL("../../../../wasm/package.json", import.meta.url), "utf8")).version,
  backends: {
    memory: "`createCache()`",
    redis: "`createCache({ store: redis(client) })`, node-redis",
    near: "`createCache({ store: redis(client, { near: true }) })`, node-redis",
  },
  told: { near: "redis" },
  cancellable: true,

  async open(backend, url, namespace) {
    const store = backend === "memory" ? undefined : redis(CLIENTS[FIRST](url), { near: backend === "near", ...PATIENT });
    const cache = createCache({ namespace, store });
    return {
      get: (key) => cache.get(key),
      set: (key, value, { ttl = 60_000, tags } = {}) => cache.set(key, value, { ttl, tags }),
      load: (key, loader, { tags, signal } = {}) => cache.getOrSet(key, loader, { ttl: 60_000, tags, signal }),
      delete: (key) => cache.delete(key),
      invalidatePattern: (pattern) => cache.invalidatePattern(pattern),
      invalidateTag: (tag) => cache.invalidateTags(tag),
      clear: () => cache.clear(),
      async lock(name, ttl) {
        try {
          return await cache.lock(name, { ttl, wait: 0 });
        } catch (error) {
          if (error instanceof LockTimeoutError) return undefined;
          throw error;
        }
      },
      unlock: (held) => held.release(),
      close: () => cache.close(),
    };
  },
};
