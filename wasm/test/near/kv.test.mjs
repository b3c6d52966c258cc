// Memory in front of Cloudflare's KV, which tells nobody of changes, and shows them late by itself.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError, createCache } from "../../dist/inline.js";
import { kv } from "../../dist/kv.js";
import { memory } from "../../dist/near.js";
import { FakeKv } from "../fake-kv.mjs";

function open(t, namespace, near) {
  const cache = createCache({ namespace: "app", store: kv(namespace, { near }), early: 0, log: () => undefined });
  t.after(() => cache.close());
  return cache;
}

const late = () => memory({ ttl: "2s" });

/** Two caches over one binding, the first with memory in front, and one of another process. */
function three(t) {
  const namespace = new FakeKv();
  return { namespace, near: open(t, namespace, late()), beside: open(t, namespace), other: open(t, namespace.elsewhere()) };
}

const gets = (namespace) => namespace.log.splice(0).filter((operation) => operation.startsWith("get")).length;

test("hits cost KV nothing, also those of a cache that is made for the next request", async (t) => {
  const { namespace, near, other } = three(t);
  await other.set("k", { list: [1] });
  assert.deepEqual(await near.get("k"), { list: [1] });
  assert.equal(gets(namespace), 1);
  assert.deepEqual(await near.getOrSet("k", () => assert.fail("it is there")), { list: [1] });
  const next = open(t, namespace, late());
  assert.deepEqual(await next.get("k"), { list: [1] });
  assert.equal(gets(namespace), 0);
  assert.equal(next.stats().memoryHits, 1);
  assert.deepEqual([(await next.explain("k")).tier, next.stats().coherence], ["memory", "ttl"]);
  await next.get("k", { mode: "strong" });
  assert.equal(gets(namespace), 1);
});

test("what KV shows to be changed is served for the stated time at most", async (t) => {
  const now = performance.now.bind(performance);
  const date = Date.now.bind(Date);
  let ahead = 0;
  t.mock.method(performance, "now", () => now() + ahead);
  t.mock.method(Date, "now", () => date() + ahead);
  const { near, other } = three(t);
  await other.set("k", "old");
  await near.get("k");
  await other.set("k", "new");
  assert.equal(await near.get("k"), "old", "nobody tells");
  assert.equal(await near.get("k", { mode: "strong" }), "new");
  await other.delete("k");
  assert.equal(await near.get("k"), "new");
  ahead += 2_000;
  assert.equal(await near.get("k"), undefined);
});

for (const [what, change] of Object.entries({
  delete: (cache) => cache.delete("k"),
  set: (cache) => cache.set("k", "new"),
  invalidatePattern: (cache) => cache.invalidatePattern("k*"),
  clear: (cache) => cache.clear(),
})) {
  test(`what a cache over the same binding has changed by ${what} is in memory no more, with memory of its own or without`, async (t) => {
    for (const which of ["near", "beside"]) {
      const caches = three(t);
      const { namespace, near, other } = caches;
      await other.set("k", "old");
      await near.get("k");
      assert.equal(near.peek("k"), "old");
      namespace.isLate = true;
      await change(caches[which]);
      assert.equal(near.peek("k"), undefined);
      assert.notEqual(await near.get("k"), "old", "though KV shows it still");
    }
  });
}

test("a pattern takes along what memory has and KV does not list any more", async (t) => {
  const { near, beside, other } = three(t);
  await other.set("k", "old");
  await near.get("k");
  await other.delete("k");
  assert.equal(near.peek("k"), "old", "nobody tells");
  await beside.invalidatePattern("k*");
  assert.equal(near.peek("k"), undefined);
});

test("over one binding memory has one time and one bound", async (t) => {
  const namespace = new FakeKv();
  open(t, namespace, late());
  assert.throws(() => open(t, namespace, memory({ ttl: "3s" })), ConfigError);
  assert.throws(() => open(t, namespace, memory({ ttl: "2s", maxEntries: 5 })), ConfigError);
  open(t, namespace, memory({ ttl: 2_000 }));
  for (const near of [true, { ttl: 1 }]) assert.throws(() => kv(namespace, { near }), /memory\({ ttl: "2s" }\)/);
});
