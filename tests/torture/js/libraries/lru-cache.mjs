// lru-cache, as its README has it: `max`, `ttl` and a `fetchMethod`.

import { LRUCache } from "lru-cache";
import { version } from "../version.mjs";

export const lruCache = {
  name: "lru-cache",
  version: version("lru-cache"),
  backends: { memory: "`new LRUCache({ max: 1000, ttl, fetchMethod })`, without `ignoreFetchAbort`" },
  cancellable: true,

  async open() {
    const cache = new LRUCache({ max: 1_000, ttl: 60_000, fetchMethod: (_key, _stale, { context }) => context() });
    return {
      get: async (key) => cache.get(key),
      set: async (key, value, { ttl } = {}) => void cache.set(key, value, { ttl }),
      load: (key, loader, { signal } = {}) => cache.fetch(key, { context: loader, signal }),
      delete: async (key) => cache.delete(key),
      clear: async () => cache.clear(),
      close: async () => undefined,
    };
  },
};
