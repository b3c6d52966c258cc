// The suite in Chromium: from the files as they are, by an import map, and bundled by Vite.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { build } from "vite";
import { startChromium } from "../chromium.mjs";
import { report, vectors, wasm } from "./hosts.js";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const MAP = JSON.stringify({ imports: { donjon: "/dist/inline.js", "donjon/slim": "/dist/slim.js" } });
// No script but the page's own, and of what is not script nothing but WebAssembly is compiled.
const POLICY = "default-src 'self'; script-src 'self' 'nonce-map' 'wasm-unsafe-eval'";

let folder;
let browser;
const servers = [];

/** Serves a folder; its pages get the import map. */
async function serve(root) {
  const shared = JSON.stringify(await vectors());
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    if (path === "/favicon.ico") return response.writeHead(204).end();
    try {
      let body = path === "/vectors.json" ? shared : await readFile(root + path);
      if (path.endsWith(".html")) body = String(body).replace("<script", `<script type="importmap" nonce="map">${MAP}</script>\n<script`);
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain", "content-security-policy": POLICY });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return `http://127.0.0.1:${server.address().port}`;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "donjon-chromium-"));
  browser = await startChromium();
});

after(async () => {
  await browser?.close();
  for (const server of servers) server.close();
  await rm(folder, { recursive: true, force: true });
});

/** Opens a page; what goes wrong in it fails the test. */
async function open(address) {
  const page = await browser.newPage();
  page.on("console", (message) => console.log(`${message.type()} in Chromium: ${message.text()}`));
  const failed = new Promise((_, reject) => page.on("pageerror", reject));
  failed.catch(() => undefined);
  await page.goto(address);
  return { page, unlessItFails: (work) => Promise.race([work, failed]) };
}

async function results(address) {
  const { page, unlessItFails } = await open(address);
  const all = await unlessItFails(page.evaluate(() => globalThis.suite));
  await page.close();
  return all;
}

test("the suite in Chromium, not bundled, under a strict policy", async (t) => {
  report(t, await results(`${await serve(wasm)}/test/hosts/page/index.html`));
});

test("the suite in Chromium, bundled by Vite", async (t) => {
  const outDir = join(folder, "built");
  await build({
    root: `${wasm}test/hosts/page`,
    configFile: false,
    logLevel: "warn",
    build: { outDir, emptyOutDir: true, target: "es2022", chunkSizeWarningLimit: 2_000 },
  });
  report(t, await results(`${await serve(outDir)}/index.html`));
});

test("a page loads the core itself, while it is streamed", async () => {
  const { page, unlessItFails } = await open(`${await serve(wasm)}/test/hosts/page/empty.html`);
  const read = page.evaluate(async () => {
    const { createCache, init } = await import("donjon/slim");
    await init(new URL("/dist/core.wasm", location.href));
    const cache = createCache();
    await cache.set("k", { a: 1 });
    return cache.get("k");
  });
  assert.deepEqual(await unlessItFails(read), { a: 1 });
  await page.close();
});
