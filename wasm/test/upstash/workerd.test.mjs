// The store over Upstash's REST API in Cloudflare's workerd, beside Node over a client of Redis.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { createClient } from "redis";

import { createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { RedisServer, until } from "../redis/server.mjs";
import { RestServer, TOKEN } from "./rest-server.mjs";
import { Workerd } from "./workerd.mjs";

let server;
let rest;
let worker;
let node;

before(async () => {
  server = await RedisServer.start();
  rest = await RestServer.start(server);
  worker = await Workerd.start({ REST_URL: rest.url, REST_TOKEN: TOKEN, TIMEOUT: "10000" });
  node = createCache({
    namespace: "app",
    store: redis(createClient({ url: server.url }), { commandTimeout: 10_000, connectTimeout: 10_000 }),
  });
});
after(async () => {
  // What did not start must not keep the rest from ending.
  for (const end of [() => node?.close(), () => worker?.end(), () => rest?.end(), () => server?.close()]) await end();
});
beforeEach(() => server.ask("FLUSHALL"));

test("bytes that a worker stores are read in Node, and the other way round", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  assert.deepEqual(await worker.ask("bytes", "b%41"), [...bytes]);
  assert.deepEqual(await node.get("b%41"), bytes);
  await node.set("k", { from: "Nöde" });
  assert.deepEqual(await worker.ask("get", "k"), { from: "Nöde" });
});

test("a cache that is made outside of requests serves them, and outside of them says why it cannot", async () => {
  assert.deepEqual(await worker.ask("early", "value"), ["value", 1, null, true]);
  assert.match(await worker.ask("tooEarly"), /no randomness here/);
});

test("requests that come at the same time share one load, as each waits for the other's lease", async () => {
  const before = await worker.ask("loads");
  const values = await Promise.all(Array.from({ length: 8 }, (_, at) => worker.ask("load", "k", String(at))));
  assert.equal(new Set(values).size, 1);
  assert.equal(await worker.ask("loads"), before + 1);
  assert.equal(await node.get("k"), values[0]);
});

test("an invalidation on either side holds on the other", async () => {
  const invalidations = [
    () => node.delete("k"),
    () => node.invalidatePattern("k*"),
    () => node.invalidateTags("t"),
    () => worker.ask("remove", "k"),
    () => worker.ask("sweep", "k*"),
    () => worker.ask("untag", "t"),
  ];
  for (const [at, invalidate] of invalidations.entries()) {
    assert.equal(await worker.ask("load", "k", at), `k=${at}`);
    assert.equal(await node.get("k"), `k=${at}`);
    await invalidate();
    assert.equal(await worker.ask("get", "k"), null);
    assert.equal(await node.get("k"), undefined);
  }
});

test("a stale value is served at once, and its refresh goes on after the answer", async () => {
  await worker.ask("stale", "k", "old");
  await until("it is stale", async () => (await node.explain("k")).state === "stale");
  assert.equal(await worker.ask("stale", "k", "new"), "old");
  await until("it is refreshed", async () => (await node.get("k")) === "new");
});

test("locks are taken, and channels refused", async () => {
  assert.equal(await worker.ask("lock", "l"), true);
  assert.equal(await worker.ask("subscribe", "c"), "UnsupportedOperationError");
});

test("a hit is one request of the worker's", async () => {
  await worker.ask("load", "k", "v");
  rest.requests.length = 0;
  await worker.ask("load", "k", "v");
  assert.equal(rest.requests.length, 1);
});

test("a request that is not answered in time does not keep the worker waiting", async () => {
  const hasty = await Workerd.start({ REST_URL: rest.url, REST_TOKEN: TOKEN, TIMEOUT: "50" });
  try {
    let hanging = 0;
    rest.meddle = () => {
      hanging++;
      return "hang";
    };
    assert.equal(await hasty.ask("load", "k", "v"), "k=v");
    assert.ok(hanging > 0);
    assert.equal(await hasty.ask("remove", "k"), true);
    rest.meddle = () => undefined;
    await until("it is asked again", async () => (await hasty.ask("remove", "k")) === false);
  } finally {
    rest.meddle = () => undefined;
    await hasty.end();
  }
});
