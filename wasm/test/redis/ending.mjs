// A program that uses a cache and ends: nothing may keep it, and nothing is said.

import { createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { CLIENTS } from "./kit.mjs";

const [url, client, namespace] = process.argv.slice(2);
const cache = createCache({ namespace, store: redis(CLIENTS[client](url), { commandTimeout: 10_000, connectTimeout: 10_000 }) });
await cache.getOrSet("k", () => 1, { ttl: "1h" });
const subscription = cache.subscribe("c");
await cache.publish("c", 1);
await subscription.next();
const lock = await cache.lock("mine", { ttl: 60_000 });
void cache.getOrSet("left", () => new Promise(() => undefined));
await lock.release();
await cache.close();
console.log("done");
