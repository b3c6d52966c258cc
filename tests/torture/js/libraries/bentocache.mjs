// bentocache, as its documentation has it: a memory layer, a Redis layer, and a bus where there are both; a namespace of its own.

import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisBusDriver, redisDriver } from "bentocache/drivers/redis";
import { version } from "../version.mjs";

export const bentocache = {
  name: "bentocache",
  version: version("bentocache"),
  backends: {
    memory: "`useL1Layer(memoryDriver())`",
    redis: "`useL2Layer(redisDriver())`",
    near: "`useL1Layer(memoryDriver())`, `useL2Layer(redisDriver())`, `useBus(redisBusDriver())`",
  },
  told: { near: "others" },

  async open(backend, url, namespace) {
    let store = bentostore();
    const connection = url === undefined ? undefined : { host: "127.0.0.1", port: Number(new URL(url).port) };
    if (backend !== "redis") store = store.useL1Layer(memoryDriver({ maxItems: 1_000 }));
    if (backend !== "memory") store = store.useL2Layer(redisDriver({ connection }));
    if (backend === "near") store = store.useBus(redisBusDriver({ connection }));
    const bento = new BentoCache({ default: "one", ttl: 60_000, stores: { one: store } });
    const cache = bento.namespace(namespace);
    return {
      get: (key) => cache.get({ key }),
      set: (key, value, { ttl = 60_000, tags } = {}) => cache.set({ key, value, ttl, tags }),
      load: (key, factory, { tags } = {}) => cache.getOrSet({ key, factory, tags }),
      delete: (key) => cache.delete({ key }),
      invalidateTag: (tag) => cache.deleteByTag({ tags: [tag] }),
      clear: () => cache.clear(),
      close: () => bento.disconnect(),
    };
  },
};
