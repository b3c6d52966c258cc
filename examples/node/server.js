// How do several Node servers share what they have loaded, so that none of them answers with what another one has changed?
//
// `npm install`, then in two shells, with a Redis on this machine: `PORT=8001 npm start` and `PORT=8002 npm start`.
//
//   curl -X PUT localhost:8001/products/5 -d '{"name": "Lamp", "price": 30}'
//   curl localhost:8002/products/5
//   curl localhost:8002/stats

import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { createCache, key } from "donjon";
import { redis } from "donjon/redis";
import { createClient } from "redis";

// The application's own client, for what a database is elsewhere. The cache makes connections of its own, to the same address.
const database = createClient({ url: process.env.REDIS_URL ?? "redis://localhost:6379" });
database.on("error", (error) => console.error(`redis: ${error.message}`));
await database.connect();

const cache = createCache({ namespace: "shop", store: redis(database), defaultTtl: "5m" });
// One place says what a change invalidates. It holds in every process once `emit` has resolved.
cache.rules.on("product.changed", { keys: ["product:{id}"], tags: ["products"] });

const routes = {
  // However many ask at once, in whichever process, one of them loads.
  "GET /products/:id": (id) =>
    cache.getOrSet(key("product", id), async () => JSON.parse(await database.hGet("products", id)), { grace: "1h" }),

  "GET /products": () =>
    cache.getOrSet("products:all", async () => Object.values(await database.hGetAll("products")).map(JSON.parse), { tags: ["products"] }),

  "PUT /products/:id": async (id, body) => {
    await database.hSet("products", id, JSON.stringify(body));
    // First the change, then the invalidation: a load that began before it is not stored, and the next one sees the change.
    await cache.emit("product.changed", { id });
    return body;
  },

  "GET /stats": () => cache.stats(),
};

const server = createServer(async (request, response) => {
  try {
    const [, place, id] = request.url.split("/");
    const route = routes[`${request.method} /${place}${id === undefined ? "" : "/:id"}`];
    const found = await route?.(id, request.method === "PUT" ? JSON.parse(await text(request)) : undefined);
    response.writeHead(found ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(found ?? null));
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
});
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${server.address().port}`);

process.once("SIGTERM", async () => {
  server.close();
  server.closeAllConnections();
  await cache.close();
  await database.close();
});
