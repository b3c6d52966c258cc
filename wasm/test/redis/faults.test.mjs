// What a cache over Redis does when Redis is away, slow, full, a replica, or forbids what is needed, by each client library.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { BackendUnavailableError, InvalidationQueuedError } from "../../dist/inline.js";
import { back, forEachClient, gate, open, proxyTo, start, turn, until } from "./kit.mjs";

const AWAY = "redis://127.0.0.1:1";

forEachClient((client) =>
  describe(client, () => {
    test("while Redis is away reads miss, loaders run, and what cannot be made up is an error", async (t) => {
      const cache = open(t, AWAY, { client });
      assert.equal(await cache.ping(), false);
      assert.equal(await cache.get("k"), undefined);
      assert.deepEqual(await cache.getMany(["k", "j"]), new Map());
      assert.equal(await cache.exists("k"), false);
      assert.equal(await cache.ttl("k"), undefined);
      assert.equal((await cache.explain("k")).state, "unknown");
      assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
      assert.deepEqual(
        await cache.getOrSetMany(["a", "b"], (keys) => Object.fromEntries(keys.map((key) => [key, 1]))),
        new Map([
          ["a", 1],
          ["b", 1],
        ]),
      );
      const miss = await cache.lookup("k");
      assert.equal((await miss.fill(1)).isStored, false);
      await assert.rejects(
        cache.getOrSet("k", () => Promise.reject(new RangeError("mine"))),
        RangeError,
      );
      for (const call of [
        () => cache.add("k", 1),
        () => cache.incr("n"),
        () => cache.touch("k", 10),
        () => cache.lock("l", { ttl: 1_000 }),
        () => cache.publish("c", 1),
      ]) {
        await assert.rejects(call, BackendUnavailableError);
      }
      assert.ok(cache.stats().faults > 0);
      assert.deepEqual(cache.logged, ["no connection to redis: ECONNREFUSED"], "once");
    });

    test("while Redis is away one loads for those who asked before", async (t) => {
      const cache = open(t, AWAY, { client });
      const load = gate("loaded");
      const all = Array.from({ length: 20 }, () => cache.getOrSet("k", load));
      await until("all look", () => cache.stats().misses === 20);
      await turn();
      load.release();
      assert.deepEqual(new Set(await Promise.all(all)), new Set(["loaded"]));
      assert.ok(load.calls <= 2, String(load.calls));
    });

    test("what Redis could not be told is queued and counted, and strict throws it", async (t) => {
      const cache = open(t, AWAY, { client });
      cache.rules.on("e", { keys: ["k"], tags: ["t"] });
      const calls = [
        (cache) => cache.deleteMany(["k", "j"]),
        (cache) => cache.invalidatePattern("k*"),
        (cache) => cache.invalidateTags("t"),
        (cache) => cache.clear(),
        (cache) => cache.emit("e"),
      ];
      for (const call of calls) assert.deepEqual(await call(cache), { count: 0, queued: true });
      assert.equal(await cache.delete("k"), false);
      await cache.set("other", 1);
      assert.ok(cache.stats().queued > 0);
      const strict = open(t, AWAY, { client, strict: true });
      strict.rules.on("e", { keys: ["k"], tags: ["t"] });
      for (const call of calls) await assert.rejects(call(strict), InvalidationQueuedError);
      await assert.rejects(strict.set("k", 1), BackendUnavailableError);
      await assert.rejects(strict.setMany({ k: 1 }), BackendUnavailableError);
      assert.equal(await strict.get("k"), undefined);
      assert.equal(await strict.getOrSet("k", () => 1), 1);
    });

    test("what was owed is said before this process reads again, and the process needs no reader to say it", async (t) => {
      const server = await start(t, { appendOnly: true });
      const here = open(t, server.url, { client });
      const there = open(t, server.url, { client, namespace: here.namespace });
      await here.setMany({ k: "old", "user:1": "old", kept: 1, set: "old" });
      await here.set("tagged", "old", { tags: ["t"] });
      await server.kill();
      assert.equal((await here.deleteMany(["k"])).queued, true);
      assert.equal((await here.invalidatePattern("user:*")).queued, true);
      assert.equal((await here.invalidateTags("t")).queued, true);
      await here.set("set", "new");
      await server.restart();
      await until("all is said", () => here.stats().queued === 0);
      const keys = ["k", "user:1", "tagged", "set", "kept"];
      assert.deepEqual(await there.getMany(keys), new Map([["kept", 1]]));
      assert.deepEqual(await here.getMany(keys), new Map([["kept", 1]]));
    });

    test("the first reader after an outage does not get what was owed", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client, limits: { commandTimeout: 300, connectTimeout: 10_000 } });
      await cache.set("k", "old");
      for (let round = 0; round < 5; round++) {
        await server.ask("SET", `${cache.namespace}:copy`, await server.askBytes("GET", `${cache.namespace}:k`));
        proxy.hold("requests");
        assert.equal((await cache.deleteMany(["copy"])).queued, true);
        proxy.release("requests");
        let value;
        await until("redis is there again", async () => {
          value = await cache.getMany(["copy", "k"]);
          return value.has("k");
        });
        assert.deepEqual(value, new Map([["k", "old"]]));
      }
    });

    test("what was said of late is said again on a new connection, before anything is read", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client });
      await cache.set("k", "old");
      const name = `${cache.namespace}:k`;
      const old = await server.askBytes("GET", name);
      assert.equal(await cache.delete("k"), true);
      // As a server would have it that took over and had not heard of it.
      await server.ask("SET", name, old);
      assert.equal(await cache.get("k"), "old");
      proxy.cut();
      await until("it is removed", async () => {
        assert.equal(await cache.get("k"), undefined);
        return (await server.ask("EXISTS", name)) === 0;
      });
      // What was set by hand is not: that would remove what is newer.
      await cache.set("set", "new");
      proxy.cut();
      await until("redis is there again", async () => (await cache.get("set")) === "new");
    });

    test("a server that stands still costs a caller its budget, and then nothing", async (t) => {
      const server = await start(t);
      const cache = open(t, server.url, { client, limits: { commandTimeout: 100 } });
      await back(cache);
      await cache.set("k", "old");
      await server.pause();
      const since = performance.now();
      const loaded = await Promise.all(Array.from({ length: 200 }, () => cache.getOrSet("k", () => "loaded")));
      assert.deepEqual(new Set(loaded), new Set(["loaded"]));
      // Five budgets, as the machine may be busy; one after the other these would be two hundred.
      assert.ok(performance.now() - since < 500 + 2_000);
      const faults = cache.stats().faults;
      for (let call = 0; call < 1_000; call++) assert.equal(await cache.get("k"), undefined);
      assert.ok(performance.now() - since < 10_000, "a thousand budgets would be a hundred seconds");
      assert.ok(cache.stats().faults >= faults + 1_000);
      assert.equal((await cache.deleteMany(["k"])).queued, true);
      server.resume();
      await back(cache);
      await until("all is said", () => cache.stats().queued === 0);
      assert.equal(await cache.get("k"), undefined);
    });

    test("a connection that is open on this side alone is given up", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client, limits: { commandTimeout: 100 } });
      await cache.set("k", 1);
      const before = proxy.connections;
      proxy.hold("replies");
      assert.equal(await cache.get("k"), undefined);
      // What went over the old connection is held for ever; new ones are well.
      await until("another is tried", async () => {
        await cache.get("k");
        return proxy.connections > before;
      });
      proxy.release("replies");
      await until("it is served", async () => (await cache.get("k")) === 1);
    });

    test("answers that come too late are nobody's", async (t) => {
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const cache = open(t, proxy.url, { client, limits: { commandTimeout: 200, connectTimeout: 10_000 } });
      const values = Object.fromEntries(Array.from({ length: 20 }, (_, number) => [`k${number}`, number]));
      await cache.setMany(values);
      proxy.delay("replies", 600);
      assert.deepEqual(await Promise.all(["k0", "k1", "k2"].map((key) => cache.get(key))), [undefined, undefined, undefined]);
      proxy.delay("replies", 0);
      await until("redis is there again", async () => (await cache.get("k0")) === 0);
      assert.deepEqual(await Promise.all(Object.keys(values).map((key) => cache.get(key))), Object.values(values));
    });

    test("a process that stood still takes no answer for late that is there", async (t) => {
      const server = await start(t);
      const cache = open(t, server.url, { client, limits: { commandTimeout: 200, connectTimeout: 10_000 } });
      await cache.set("k", 1);
      // The answers come while it stands still, after it has looked for them in vain.
      await server.ask("CLIENT", "PAUSE", "150");
      const got = Array.from({ length: 3 }, () => cache.get("k"));
      await new Promise((resolve) => setTimeout(resolve, 100));
      // Out of the turn of timers: those that are due come before the answers then.
      await turn();
      const until = performance.now() + 400;
      while (performance.now() < until);
      assert.deepEqual(await Promise.all(got), [1, 1, 1]);
      assert.equal(cache.stats().faults, 0);
    });

    test("a restart shows as misses, and keeps no invalidation back", async (t) => {
      const server = await start(t, { appendOnly: true });
      const cache = open(t, server.url, { client });
      await cache.setMany({ kept: 1, old: 1 });
      const load = gate("loaded meanwhile");
      const loading = cache.getOrSet("loading", load);
      await load.begun;
      await server.kill();
      assert.equal(await cache.get("kept"), undefined);
      assert.equal(await cache.getOrSet("kept", () => "loaded"), "loaded");
      assert.equal((await cache.deleteMany(["old"])).queued, true);
      load.release();
      assert.equal(await loading, "loaded meanwhile");
      await server.restart();
      await back(cache);
      await until("all is said", () => cache.stats().queued === 0);
      assert.equal(await cache.get("kept"), 1);
      assert.equal(await cache.get("old"), undefined);
      assert.equal(cache.stats().flights, 0);
    });

    for (const flush of [["FLUSHALL"], ["FLUSHDB", "ASYNC"], ["SCRIPT", "FLUSH"]]) {
      test(`${flush.join(" ")} in the middle of a load refuses it at most`, async (t) => {
        const server = await start(t);
        const cache = open(t, server.url, { client });
        await cache.set("kept", 1, { tags: ["t"] });
        const load = async () => {
          await server.ask(...flush);
          return "loaded";
        };
        const isForgotten = flush[0] !== "SCRIPT";
        assert.equal(await cache.getOrSet("k", load, { tags: ["t"] }), "loaded");
        assert.equal(await cache.get("k"), isForgotten ? undefined : "loaded");
        assert.equal(await cache.get("kept"), isForgotten ? undefined : 1);
        assert.equal(cache.stats().loadsRefused, isForgotten ? 1 : 0);
        assert.equal(await cache.getOrSet("k", () => "again", { tags: ["t"] }), isForgotten ? "again" : "loaded");
        await server.ask("SCRIPT", "FLUSH");
        assert.equal(await cache.incr("n"), 1);
        await server.ask("SCRIPT", "FLUSH");
        await cache.invalidateTags("t");
        assert.equal(await cache.get("k"), undefined);
      });
    }

    test("a full server keeps no older value, and still deletes", async (t) => {
      const server = await start(t, { memory: [3 << 20, "noeviction"] });
      const cache = open(t, server.url, { client });
      const strict = open(t, server.url, { client, namespace: cache.namespace, strict: true });
      await cache.setMany({ k: "old", strict: "old", deleted: 1 });
      await strict.get("k");
      const fill = async () => {
        for (let round = 0; round < 1_000; round++) await server.ask("APPEND", "bulk", "x".repeat(20_000));
      };
      await assert.rejects(fill(), /OOM/);
      await cache.set("k", "new");
      assert.equal(await cache.get("k"), undefined);
      await assert.rejects(strict.set("strict", "new"), BackendUnavailableError);
      assert.equal(await cache.get("strict"), undefined);
      assert.equal(await cache.getOrSet("other", () => "loaded"), "loaded");
      assert.equal(await cache.delete("deleted"), true);
      await assert.rejects(cache.incr("n"), { name: "BackendUnavailableError", message: /OOM.*maxmemory/ });
      await server.ask("DEL", "bulk");
      assert.equal(await cache.getOrSet("k", () => "new"), "new");
      assert.equal(await cache.get("k"), "new");
    });

    test("a replica is read, its invalidations wait, and it is left when it is none any more", async (t) => {
      const [primary, replica] = [await start(t), await start(t)];
      const writer = open(t, primary.url, { client });
      const cache = open(t, replica.url, { client, namespace: writer.namespace });
      await writer.set("k", "old");
      await replica.replicaOf(primary);
      await until("the replica is asked", async () => (await cache.get("k")) === "old");
      assert.equal(await cache.getOrSet("other", () => "loaded"), "loaded");
      assert.equal((await cache.deleteMany(["k"])).queued, true);
      await replica.ask("REPLICAOF", "NO", "ONE");
      await until("all is said", () => cache.stats().queued === 0);
      assert.equal(await cache.get("k"), undefined);
      assert.equal(await replica.ask("EXISTS", `${writer.namespace}:k`), 0);
    });

    test("the rights of docs/redis.md are enough for everything", async (t) => {
      const rights =
        "-@all +get +mget +set +unlink +getrange +setrange +pexpire +persist +pttl +incrby +scan +hget +hset +hsetnx +hmget +hgetall +hdel +hlen +time +eval +evalsha +publish +subscribe +unsubscribe +ping +hello +auth +select";
      const server = await start(t, { users: { app: `on >secret ~app:* ~app!* resetchannels &app!ch* ${rights}`, default: "off" } });
      const cache = open(t, server.url.replace("//", "//app:secret@"), { client, namespace: "app" });
      await cache.set("k", 1, { tags: ["t"] });
      await cache.setMany({ a: 1, b: 2 });
      assert.equal(await cache.getOrSet("l", () => 2, { tags: ["t"], grace: 1_000 }), 2);
      assert.equal(await cache.getOrSet("l", () => 3, { forceRefresh: true }), 3);
      assert.deepEqual(
        [await cache.add("m", 1), await cache.incr("n"), await cache.touch("n", 9_000), await cache.touch("k", "1h")],
        [true, 1, true, true],
      );
      assert.deepEqual((await cache.getMany(["k", "a", "l"])).size, 3);
      assert.ok((await cache.ttl("n")) > 0);
      assert.equal(await cache.delete("a"), true);
      assert.equal((await cache.invalidatePattern("b*")).count, 1);
      assert.equal((await cache.invalidateTags("t")).queued, false);
      assert.equal(await cache.get("k"), undefined);
      const subscription = cache.subscribe("c");
      assert.equal(await cache.publish("c", "said"), 1);
      assert.equal((await subscription.next()).value.data, "said");
      const lock = await cache.lock("mine", { ttl: 60_000 });
      const waits = cache.lock("mine", { ttl: 60_000 });
      await lock.release();
      await (await waits).release();
      assert.equal((await cache.clear()).queued, false);
      assert.equal(cache.stats().faults, 0);
      assert.deepEqual(cache.logged, []);
    });

    test("for a user without scripts nothing that was loaded is stored, which is said once", async (t) => {
      const server = await start(t, { users: { poor: "on >secret ~* &* +@all -@scripting" } });
      const cache = open(t, server.url.replace("//", "//poor:secret@"), { client });
      for (const key of ["a", "b", "c"]) assert.equal(await cache.getOrSet(key, () => "loaded"), "loaded");
      assert.deepEqual(await cache.getMany(["a", "b", "c"]), new Map());
      await cache.set("set", 1);
      assert.equal(await cache.get("set"), 1);
      assert.equal(await cache.delete("set"), true);
      await assert.rejects(cache.incr("n"), { name: "BackendUnavailableError", message: /NOPERM.*docs\/redis\.md/ });
      assert.equal(cache.logged.length, 1, cache.logged.join("\n"));
      assert.match(cache.logged[0], /NOPERM.*evalsha.*docs\/redis\.md/);
    });

    for (const rights of ["+@all -@write -@scripting", "-@all +hello +ping +client +time", "-@all"]) {
      test(`a user with ${rights} loads alone, and its invalidations are owed`, async (t) => {
        const server = await start(t, { users: { poor: `on >secret ~* &* ${rights}` } });
        const cache = open(t, server.url.replace("//", "//poor:secret@"), { client });
        assert.equal(await cache.get("k"), undefined);
        assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
        await cache.set("k", "value");
        assert.equal((await cache.deleteMany(["k"])).queued, true);
        assert.ok(cache.stats().queued > 0);
        assert.match(cache.logged.join("\n"), /NOPERM/);
        assert.doesNotMatch(cache.logged.join("\n"), /secret/);
      });
    }

    test("a server that cannot serve now is left alone, and asked again", async (t) => {
      const server = await start(t, { options: { "lua-time-limit": "10" } });
      const cache = open(t, server.url, { client });
      await cache.set("k", 1);
      // Whoever is asked meanwhile says BUSY.
      const busy = server.ask("EVAL", "while redis.call('PING') do end", 0).catch(() => undefined);
      await until("it is busy", async () => {
        assert.equal((await cache.get("k")) ?? 1, 1);
        return cache.stats().faults >= 5;
      });
      const before = cache.stats().faults;
      for (let call = 0; call < 1_000; call++) assert.equal(await cache.get("k"), undefined);
      assert.equal(cache.stats().faults, before + 1_000);
      await until("it is killed", () =>
        server.ask("SCRIPT", "KILL").then(
          () => true,
          () => false,
        ),
      );
      await busy;
      const said = Number(/count=(\d+)/.exec(await server.info("errorstat_BUSY"))[1]);
      assert.ok(said < 200, `it was asked ${said} times`);
      await until("it is served", async () => (await cache.get("k")) === 1);
    });

    test("who closes the cache waits no longer than a second for what is owed", async (t) => {
      const cache = open(t, AWAY, { client });
      await cache.delete("k");
      await cache.close();
      const server = await start(t);
      const proxy = await proxyTo(t, server);
      const said = open(t, proxy.url, { client, limits: { commandTimeout: 100 } });
      await said.set("k", 1);
      proxy.hold("replies");
      assert.equal((await said.deleteMany(["k"])).queued, true);
      proxy.release("replies");
      await said.close();
      await until("it was said", async () => (await server.ask("EXISTS", `${said.namespace}:k`)) === 0);
    });
  }),
);

/** A way that loses the first connection on which a word is said, as its client sees it, and keeps what was said for later. */
async function losingWay(t, server, word) {
  const { createConnection } = await import("node:net");
  const way = { kept: undefined };
  const open = [];
  const listener = createServer((client) => {
    const target = createConnection({ port: server.port, host: "127.0.0.1" });
    open.push(client, target);
    for (const end of [client, target]) end.on("error", () => undefined);
    target.pipe(client);
    client.on("close", () => way.kept?.target === target || target.destroy());
    client.on("data", (said) => {
      if (way.kept === undefined && said.includes(word)) {
        way.kept = { target, said };
        target.unpipe(client);
        client.destroy();
      } else if (way.kept?.target !== target) {
        target.write(said);
      }
    });
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    listener.close();
    for (const end of open) end.destroy();
  });
  way.url = `redis://127.0.0.1:${listener.address().port}`;
  way.deliver = () => way.kept.target.write(way.kept.said);
  return way;
}

forEachClient((client) => {
  test(`${client}: a lease that was asked for twice is not brought back by the first asking after an invalidation`, async (t) => {
    const server = await start(t);
    const way = await losingWay(t, server, "\r\nNX\r\n");
    const cache = open(t, way.url, { client });
    const name = `${cache.namespace}:k`;
    const load = async () => {
      const claimed = await server.askBytes("GET", name);
      assert.equal(await server.ask("UNLINK", name), 1);
      way.deliver();
      let late;
      await until("it arrives", async () => (late = await server.askBytes("GET", name)) !== null);
      assert.notDeepEqual(late, claimed);
      return "of before";
    };
    assert.equal(await cache.getOrSet("k", load), "of before");
    assert.equal(await cache.get("k"), undefined);
    assert.equal(cache.stats().loadsRefused, 1);
  });

  test(`${client}: a set that does not arrive for certain becomes an invalidation, and is not said twice`, async (t) => {
    const server = await start(t);
    const way = await losingWay(t, server, "new value");
    const cache = open(t, way.url, { client });
    await cache.set("k", "old value");
    await cache.set("k", "new value");
    await until("all is said", () => cache.stats().queued === 0);
    assert.equal(await server.ask("EXISTS", `${cache.namespace}:k`), 0);
    assert.equal(await cache.get("k"), undefined);
  });

  test(`${client}: a counter whose sum is not known is not believed`, async (t) => {
    const server = await start(t);
    const proxy = await proxyTo(t, server);
    const cache = open(t, proxy.url, { client });
    assert.equal(await cache.incr("n", 5), 5);
    proxy.cutAfter("replies", 0);
    await assert.rejects(cache.incr("n", 5), BackendUnavailableError);
    await back(cache);
    assert.equal(await cache.get("n"), undefined);
    assert.equal(await server.ask("EXISTS", `${cache.namespace}:n`), 0);
  });

  test(`${client}: who goes away while the lease is asked for leaves none behind`, async (t) => {
    const server = await start(t);
    const proxy = await proxyTo(t, server);
    const cache = open(t, proxy.url, { client });
    await back(cache);
    // The first answer passes: there is nothing. The second is held, by which the lease was granted.
    const controller = new AbortController();
    proxy.delay("replies", 200);
    const load = assert.rejects(
      cache.getOrSet("k", () => assert.fail("nobody waits"), { signal: controller.signal }),
      { name: "AbortError" },
    );
    // For ever, so that it does not end by itself.
    await until("the lease is granted", async () => (await server.ask("PERSIST", `${cache.namespace}:k`)) === 1);
    controller.abort();
    await load;
    proxy.delay("replies", 0);
    await until("the lease is given up", async () => (await server.ask("EXISTS", `${cache.namespace}:k`)) === 0);
    assert.equal(cache.stats().flights, 0);
    assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
  });

  test(`${client}: the fate of a value on its way is not known, so that nobody but its loader gets it`, async (t) => {
    const server = await start(t);
    const proxy = await proxyTo(t, server);
    const cache = open(t, proxy.url, { client, limits: { commandTimeout: 300, connectTimeout: 10_000 } });
    await back(cache);
    const load = gate("loaded");
    const loading = cache.getOrSet("k", load);
    await load.begun;
    const waits = cache.getOrSet("k", () => "mine");
    await until("it waits", () => cache.stats().misses === 2);
    await turn();
    proxy.hold("replies");
    load.release();
    assert.equal(await loading, "loaded");
    proxy.release("replies");
    assert.ok(["mine", "loaded"].includes(await waits));
    assert.equal(cache.stats().loadsRefused, 1);
  });
});
