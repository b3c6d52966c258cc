/** Keyv's own suite for storage adapters, run by vitest, its runner: over memory, and over the Redis at the socket REDIS_SOCKET. */
import keyvTestSuite, { keyvIteratorTests } from "@keyv/test-suite";
import Keyv from "keyv";
import { createClient } from "redis";
import * as test from "vitest";
import { createCache } from "../../dist/inline.js";
import { DonjonKeyv } from "../../dist/keyv.js";
import { redis } from "../../dist/redis.js";

const stores = {
  memory: () => undefined,
  redis: () => redis(createClient({ socket: { path: process.env.REDIS_SOCKET } }), { commandTimeout: 10_000, connectTimeout: 10_000 }),
};

for (const [name, store] of Object.entries(stores)) {
  test.describe(name, () => {
    // The suite asks for a store again and again, and expects to find what the one before has stored.
    const cache = createCache({ namespace: "keyv-suite", strict: true, store: store() });
    test.afterAll(() => cache.close());
    keyvTestSuite(test, Keyv, () => new DonjonKeyv(cache));
    keyvIteratorTests(test, Keyv, () => new DonjonKeyv(cache));
  });
}
