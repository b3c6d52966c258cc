// Locks and messages over Redis, by each client library.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { BackendUnavailableError, CacheClosedError, LockTimeoutError } from "../../dist/inline.js";
import { back, forEachClient, open, proxyTo, start, stillWaits, until } from "./kit.mjs";
import { RedisServer } from "./server.mjs";

let server;
before(async () => (server = await RedisServer.start()));
after(() => server.close());

const listeners = async (where, channel) => (await where.ask("PUBSUB", "NUMSUB", channel))[1];

forEachClient((client) =>
  describe(client, () => {
    const pair = (t) => {
      const here = open(t, server.url, { client });
      return [here, open(t, server.url, { client, namespace: here.namespace })];
    };

    test("what is published reaches all who listen, JSON as it is and bytes as bytes", async (t) => {
      const [here, there] = pair(t);
      const [first, second] = [here.subscribe(["a", "b"]), there.subscribe("a")];
      await until("they listen", async () => (await listeners(server, `${here.namespace}!ch:a`)) === 2);
      for (const data of [{ id: 5 }, null, "é", [], 2n ** 64n, new Uint8Array([0, 255]), new Uint8Array()]) {
        assert.equal(await here.publish("a", data), 2);
        for (const subscription of [first, second]) {
          const { value } = await subscription.next();
          assert.deepEqual(value, { channel: "a", data });
          if (data instanceof Uint8Array) assert.equal(Object.getPrototypeOf(value.data), Uint8Array.prototype);
        }
      }
      await there.publish("b", "to b");
      assert.deepEqual((await first.next()).value, { channel: "b", data: "to b" });
      first.close();
      second.close();
      await until("nobody listens", async () => (await listeners(server, `${here.namespace}!ch:a`)) === 0);
      assert.equal(await here.publish("a", 1), 0);
    });

    test("who listens here hears what is published here, though it was never waited for", async (t) => {
      const [here] = pair(t);
      // The way for what is published is there; that for what is heard is not.
      await back(here);
      const subscription = here.subscribe("a");
      assert.equal(await here.publish("a", "at once"), 1);
      assert.equal((await subscription.next()).value.data, "at once");
    });

    test("two who listen to one channel are told apart, and one may leave", async (t) => {
      const [here] = pair(t);
      const [first, second] = [here.subscribe("a"), here.subscribe("a")];
      await here.publish("a", 1);
      assert.deepEqual([(await first.next()).value.data, (await second.next()).value.data], [1, 1]);
      first.close();
      assert.equal((await first.next()).done, true);
      assert.equal(await here.publish("a", 2), 1);
      assert.equal((await second.next()).value.data, 2);
    });

    test("a literal channel is the one of that name, where others speak too", async (t) => {
      const [here] = pair(t);
      const channel = `${here.namespace}-news`;
      const subscription = here.subscribe(channel, { raw: true });
      await until("it listens", async () => (await listeners(server, channel)) === 1);
      for (const text of ["no JSON", Buffer.from([0xff, 0xfe]), "", "[".repeat(100_000)]) {
        await server.ask("PUBLISH", channel, text);
        assert.deepEqual((await subscription.next()).value, { channel, data: Uint8Array.from(Buffer.from(text)) });
      }
      await server.ask("PUBLISH", channel, '{"from":"others"}');
      assert.deepEqual((await subscription.next()).value, { channel, data: { from: "others" } });
      await here.publish(channel, "raw", { raw: true });
      assert.equal((await subscription.next()).value.data, "raw");
      assert.equal(await here.publish(channel, "own"), 0);
    });

    test("a slow listener loses the oldest, and knows how many", async (t) => {
      const [here] = pair(t);
      const subscription = here.subscribe("a", { limit: 3 });
      for (let number = 0; number < 10; number++) await here.publish("a", number);
      await until("all have come", () => subscription.dropped === 7);
      const taken = [];
      for (let number = 0; number < 3; number++) taken.push((await subscription.next()).value.data);
      assert.deepEqual(taken, [7, 8, 9]);
    });

    test("after a connection was lost all is listened to again", async (t) => {
      const proxy = await proxyTo(t, server);
      const here = open(t, proxy.url, { client });
      const subscription = here.subscribe(["a", "b"]);
      await here.publish("a", 1);
      assert.equal((await subscription.next()).value.data, 1);
      for (let round = 0; round < 3; round++) {
        proxy.cut();
        await until("it listens again", async () => {
          const [a, b] = [await listeners(server, `${here.namespace}!ch:a`), await listeners(server, `${here.namespace}!ch:b`)];
          return a === 1 && b === 1;
        });
        await server.ask("PUBLISH", `${here.namespace}!ch:b`, String(round));
        assert.deepEqual((await subscription.next()).value, { channel: "b", data: round });
      }
    });

    test("after a restart all is listened to again", async (t) => {
      const own = await start(t);
      const here = open(t, own.url, { client });
      const subscription = here.subscribe("a");
      await here.publish("a", 1);
      assert.equal((await subscription.next()).value.data, 1);
      await own.restart();
      await until("it listens again", async () => (await listeners(own, `${here.namespace}!ch:a`)) === 1);
      await back(here);
      await here.publish("a", 2);
      assert.equal((await subscription.next()).value.data, 2);
    });

    test("a listener's connection that is open on this side alone is noticed", async (t) => {
      const proxy = await proxyTo(t, server);
      const here = open(t, proxy.url, { client, limits: { commandTimeout: 100, connectTimeout: 1_000 } });
      const subscription = here.subscribe("a");
      await until("it listens", async () => (await listeners(server, `${here.namespace}!ch:a`)) === 1);
      const before = proxy.connections;
      proxy.hold("replies");
      await until("another is tried", () => proxy.connections > before);
      proxy.release("replies");
      let isHeard = false;
      void subscription.next().then(() => (isHeard = true));
      await until("it is heard", async () => {
        await server.ask("PUBLISH", `${here.namespace}!ch:a`, '"back"');
        return isHeard;
      });
    });

    test("a subscription ends with its signal, its loop and its cache", async (t) => {
      const [here] = pair(t);
      const controller = new AbortController();
      const subscription = here.subscribe("a", { signal: controller.signal });
      const next = subscription.next();
      await stillWaits(next);
      controller.abort();
      assert.equal((await next).done, true);
      const looped = here.subscribe("a");
      await here.publish("a", 1);
      for await (const { data } of looped) {
        assert.equal(data, 1);
        break;
      }
      assert.equal((await looped.next()).done, true);
      const waiting = here.subscribe("a").next();
      await here.close();
      assert.equal((await waiting).done, true);
      assert.throws(() => here.subscribe("a"), CacheClosedError);
    });

    test("without Redis there are no messages and no locks, and who listens waits", async (t) => {
      const away = open(t, "redis://127.0.0.1:1", { client });
      const subscription = away.subscribe("a");
      await assert.rejects(away.publish("a", 1), BackendUnavailableError);
      await assert.rejects(away.lock("l", { ttl: 1_000 }), BackendUnavailableError);
      const next = subscription.next();
      await stillWaits(next);
      await away.close();
      assert.equal((await next).done, true);
    });

    test("a lock has one holder, and fences grow", async (t) => {
      const [here, there] = pair(t);
      let [inside, most, fence] = [0, 0, 0];
      const work = async (cache) => {
        const lock = await cache.lock("mine", { ttl: 60_000, wait: 20_000 });
        most = Math.max(most, ++inside);
        assert.ok(lock.fence > fence);
        fence = lock.fence;
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
        await lock.release();
      };
      await Promise.all([here, there, here, there, here, there].map(work));
      assert.equal(most, 1);
      await assert.rejects(
        here.lock("mine", { ttl: 60_000 }).then(() => there.lock("mine", { ttl: 60_000, wait: 1 })),
        LockTimeoutError,
      );
    });

    test("who waits for a lock is told when it is free", async (t) => {
      const [here, there] = pair(t);
      const lock = await here.lock("mine", { ttl: 60_000 });
      const waits = there.lock("mine", { ttl: 60_000 });
      const channel = `${here.namespace}!ch!lock:mine`;
      await until("it listens", async () => (await listeners(server, channel)) === 1);
      await stillWaits(waits);
      await lock.release();
      await (await waits).release();
      await until("nobody listens", async () => (await listeners(server, channel)) === 0);
    });

    test("a lock that nobody gives back is free when its time is over", async (t) => {
      const [here] = pair(t);
      await server.ask("SET", `${here.namespace}!{lock:mine}`, "gone", "PX", "200");
      const lock = await here.lock("mine", { ttl: 60_000 });
      await lock.release();
    });

    test("who gives up waiting for a lock, or goes away as he gets it, does not have it", async (t) => {
      const [here, there] = pair(t);
      const lock = await here.lock("mine", { ttl: 60_000 });
      const controller = new AbortController();
      const waits = assert.rejects(there.lock("mine", { ttl: 60_000, signal: controller.signal }), { name: "AbortError" });
      await until("it listens", async () => (await listeners(server, `${here.namespace}!ch!lock:mine`)) === 1);
      controller.abort();
      await waits;
      await lock.release();
      const late = new AbortController();
      const gets = assert.rejects(there.lock("mine", { ttl: 60_000, signal: late.signal }), { name: "AbortError" });
      late.abort();
      await gets;
      await until("it is free", async () => (await server.ask("EXISTS", `${here.namespace}!{lock:mine}`)) === 0);
    });

    test("a lock whose Redis stands still is lost in time", async (t) => {
      const own = await start(t);
      const here = open(t, own.url, { client, limits: { commandTimeout: 50 } });
      await back(here);
      const lock = await here.lock("mine", { ttl: 500 });
      await own.pause();
      await until("its loss is noticed", () => lock.lost.aborted);
      assert.equal(lock.isHeld, false);
      own.resume();
    });
  }),
);
