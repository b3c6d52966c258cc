// A program that has a cache with values in it, and nothing more to do: the cache does not keep it running.

import { createCache } from "donjon";

const cache = createCache();
await cache.set("k", 1, { ttl: "1h" });
await cache.getOrSet("l", () => 2, { ttl: "1h" });
cache.subscribe("channel");
console.log("done");
