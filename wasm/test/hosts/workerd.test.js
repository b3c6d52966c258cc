// The suite in workerd, which is given the core as a module of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { report, vectors, wasm } from "./hosts.js";

let folder;
let workerd;
let origin;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "donjon-workerd-"));
  await build({
    entryPoints: [`${wasm}test/hosts/worker.js`],
    outfile: join(folder, "worker.js"),
    bundle: true,
    format: "esm",
    conditions: ["workerd"],
    external: ["*.wasm"],
    logLevel: "warning",
  });
  await copyFile(`${wasm}dist/core.wasm`, join(folder, "core.wasm"));
  await copyFile(`${wasm}test/hosts/worker.capnp`, join(folder, "worker.capnp"));
  // It says on this descriptor which port it was given.
  const args = ["serve", "--control-fd=3", join(folder, "worker.capnp")];
  workerd = spawn(`${wasm}node_modules/.bin/workerd`, args, { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const said = await new Promise((resolve, reject) => {
    workerd.on("exit", (status) => reject(new Error(`workerd ended with ${status}`)));
    workerd.stdio[3].once("data", (line) => resolve(String(line)));
  });
  origin = `http://127.0.0.1:${JSON.parse(said.split("\n")[0]).port}`;
});

after(async () => {
  workerd?.kill();
  await rm(folder, { recursive: true, force: true });
});

const ask = async (path, body) => {
  const answer = await fetch(origin + path, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
};

test("the first lock of a cache that was made outside of requests is held", async () => {
  assert.equal(await ask("/lock"), "LockTimeoutError");
});

test("the suite in workerd", async (t) => report(t, await ask("/suite", await vectors())));

test("a cache made outside of requests is shared by them", async () => {
  await ask("/set");
  assert.equal(await ask("/get"), "from another request");
});

test("what is over leaves though the request that stored it is long over", { timeout: 60_000 }, async () => {
  await ask("/set");
  while ((await ask("/get")) !== null);
  do await ask("/other");
  while ((await ask("/size")) !== 1);
});
