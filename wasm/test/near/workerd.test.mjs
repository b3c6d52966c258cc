// Memory in front of Upstash and of KV in Cloudflare's workerd, where a cache lasts for a request.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { createCache } from "../../dist/inline.js";
import { kv } from "../../dist/kv.js";
import { upstash } from "../../dist/upstash.js";
import { RedisServer, until } from "../redis/server.mjs";
import { RestServer, TOKEN } from "../upstash/rest-server.mjs";
import { Workerd } from "../upstash/workerd.mjs";
import { KvServer } from "./kv-server.mjs";

let server;
let rest;
let namespaces;
let worker;
let others;

before(async () => {
  server = await RedisServer.start();
  rest = await RestServer.start(server);
  namespaces = await KvServer.start();
  worker = await Workerd.start(
    { REST_URL: rest.url, REST_TOKEN: TOKEN },
    { worker: fileURLToPath(new URL("worker.mjs", import.meta.url)), kv: namespaces.port },
  );
  const open = (store) => createCache({ namespace: "app", store });
  others = {
    upstash: open(upstash({ url: rest.url, token: TOKEN, commandTimeout: 10_000 })),
    kv: open(kv(namespaces.namespace.elsewhere())),
  };
});
after(async () => {
  for (const cache of Object.values(others)) await cache.close();
  await worker.end();
  await namespaces.end();
  await rest.end();
  await server.close();
});

for (const store of ["upstash", "kv"]) {
  const ask = (...deed) => worker.ask(store, ...deed);

  /** Reads until memory has it: by the next request its time may be over. */
  const kept = (key) =>
    until("memory has it", async () => {
      await ask("get", key);
      return (await ask("peek", key)) !== null;
    });

  describe(store, () => {
    test("what one request has read or loaded, the next finds in memory", async () => {
      await others[store].set("read", "there");
      await kept("read");
      assert.equal(await ask("get", "read"), "there");
      assert.equal(await ask("load", "loaded", "here"), "here");
      await kept("loaded");
      assert.equal(await ask("load", "loaded", "another"), "here");
    });

    test("what another process invalidates is not served any longer than memory has it, nor by a strong read", async () => {
      await others[store].set("k", "old");
      await kept("k");
      await others[store].delete("k");
      assert.equal(await ask("strong", "k"), null);
      await until("its time is over", async () => (await ask("get", "k")) === null);
    });

    test("what the worker itself invalidates it does not serve to the next request", async () => {
      for (let round = 0; round < 5; round++) {
        await others[store].set(`mine:${round}`, "old");
        await kept(`mine:${round}`);
        assert.equal(await ask("remove", `mine:${round}`), false);
        assert.equal(await ask("get", `mine:${round}`), null);
      }
    });
  });
}
