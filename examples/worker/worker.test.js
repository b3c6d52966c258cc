import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

let workerd;
let address;
let origin;
/** The answers that the origin owes, to be given by hand. */
const asked = [];
let isAsked;

before(async () => {
  origin = createServer((request, response) => {
    asked.push({
      path: request.url,
      answer: (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value)),
    });
    isAsked?.();
  });
  await new Promise((resolve) => origin.listen(0, "127.0.0.1", resolve));
  const folder = fileURLToPath(new URL(".", import.meta.url));
  // On descriptor 3 it says which port it was given.
  const args = ["serve", "config.capnp", "--socket-addr=http=127.0.0.1:0", "--control-fd=3"];
  workerd = spawn("node_modules/.bin/workerd", args, {
    cwd: folder,
    env: { ...process.env, ORIGIN: `http://127.0.0.1:${origin.address().port}` },
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const said = await new Promise((resolve, reject) => {
    workerd.on("exit", (status) => reject(new Error(`workerd ended with ${status}`)));
    workerd.stdio[3].once("data", (line) => resolve(JSON.parse(String(line).split("\n")[0])));
  });
  address = `http://127.0.0.1:${said.port}`;
});

after(() => {
  workerd?.kill();
  origin?.close();
  origin?.closeAllConnections();
});

const get = async (path) => (await fetch(address + path)).json();

/** What the origin is asked under a path next. */
async function next(path) {
  for (;;) {
    const at = asked.findIndex((one) => one.path === path);
    if (at >= 0) return asked.splice(at, 1)[0];
    await new Promise((resolve) => (isAsked = resolve));
  }
}

const isOwed = (path) => asked.some((one) => one.path === path);

test("a stale value is answered at once, and what the refresh brings from then on", { timeout: 60_000 }, async () => {
  const first = get("/EUR");
  (await next("/EUR")).answer(200, { rate: 1 });
  assert.deepEqual(await first, { rate: 1 });

  // Until the value is stale nothing is asked of the origin, and then it is, by a request that does not wait for it.
  do assert.deepEqual(await get("/EUR"), { rate: 1 });
  while (!isOwed("/EUR"));
  for (let at = 0; at < 5; at++) assert.deepEqual(await get("/EUR"), { rate: 1 });
  assert.equal(asked.length, 1);

  (await next("/EUR")).answer(200, { rate: 2 });
  let found;
  do found = await get("/EUR");
  while (found.rate === 1);
  assert.deepEqual(found, { rate: 2 });
});

test("while the origin is away, what there is goes on being served", { timeout: 60_000 }, async () => {
  const first = get("/USD");
  (await next("/USD")).answer(200, { rate: 3 });
  await first;
  do await get("/USD");
  while (!isOwed("/USD"));
  (await next("/USD")).answer(500, null);
  for (let at = 0; at < 5; at++) assert.deepEqual(await get("/USD"), { rate: 3 });
});

test("without a value to serve, the error of the load is answered", async () => {
  const first = fetch(`${address}/none`);
  (await next("/none")).answer(404, null);
  const answer = await first;
  assert.equal(answer.status, 502);
  assert.equal(await answer.text(), "the origin answered 404");
});
