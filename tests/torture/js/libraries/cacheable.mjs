// cacheable, as its README has it: `tags: true`, Redis as the secondary store, and `sync` where processes share.

import KeyvRedis from "@keyv/redis";
import { RedisMessageProvider } from "@qified/redis";
import { Cacheable } from "cacheable";
import { version } from "../version.mjs";

export const cacheable = {
  name: "cacheable",
  version: version("cacheable"),
  backends: {
    memory: "`new Cacheable({ tags: true })`, `getOrSet` as it comes, without `throwErrors`",
    near: "the same with `secondary: new KeyvRedis()` and `sync: { qified: new RedisMessageProvider() }`",
  },
  told: { near: "others" },

  async open(_backend, url, namespace) {
    const shared = url === undefined ? {} : { secondary: new KeyvRedis(url), sync: { qified: new RedisMessageProvider({ uri: url }) } };
    const cache = new Cacheable({ namespace, ttl: 60_000, tags: true, ...shared });
    return {
      get: (key) => cache.get(key),
      set: (key, value, { ttl = 60_000, tags } = {}) => cache.set(key, value, { ttl, tags }),
      load: (key, loader) => cache.getOrSet(key, loader, { ttl: 60_000 }),
      loadsCarryTags: false,
      delete: (key) => cache.delete(key),
      invalidateTag: (tag) => cache.tags.invalidateTag(tag),
      clear: () => cache.clear(),
      async close() {
        await cache.disconnect();
        await cache.sync?.qified.disconnect();
      },
    };
  },
};
