import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { RedisServer } from "../../wasm/test/redis/server.mjs";

let redis;
let one;
let other;

async function start() {
  const env = { ...process.env, PORT: "0", REDIS_URL: redis.url };
  const running = spawn(process.execPath, [fileURLToPath(new URL("server.js", import.meta.url))], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [address] = await once(createInterface(running.stdout), "line");
  return { running, address };
}

before(async () => {
  redis = await RedisServer.start();
  [one, other] = await Promise.all([start(), start()]);
});

after(async () => {
  for (const server of [one, other]) server?.running.kill();
  await redis?.close();
});

const get = async ({ address }, path) => (await fetch(address + path)).json();
const put = (id, product) => fetch(`${one.address}/products/${id}`, { method: "PUT", body: JSON.stringify(product) });

test("what one process has changed, the other does not answer with any more", async () => {
  await put(5, { name: "Lamp", price: 30 });
  for (let price = 31; price < 60; price++) {
    assert.equal((await get(other, "/products/5")).price, price - 1);
    assert.equal((await get(other, "/products"))[0].price, price - 1);
    await put(5, { name: "Lamp", price });
  }
  assert.equal((await get(other, "/products/5")).price, 59);
});

test("a hundred who ask at once cause one load", async () => {
  const loads = async () => (await get(one, "/stats")).loads + (await get(other, "/stats")).loads;
  await put(6, { name: "Chair", price: 80 });
  const earlier = await loads();
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => get(n % 2 ? one : other, "/products/6")));
  assert(answers.every(({ price }) => price === 80));
  assert.equal((await loads()) - earlier, 1);
});

test("a product that is not there is not found", async () => {
  assert.equal((await fetch(`${one.address}/products/7`)).status, 404);
  assert.equal((await fetch(`${other.address}/products/7`)).status, 404);
});

test("a server that is told to end does", async () => {
  const third = await start();
  await get(third, "/products");
  third.running.kill("SIGTERM");
  const [status] = await once(third.running, "exit");
  assert.equal(status, 0);
});
