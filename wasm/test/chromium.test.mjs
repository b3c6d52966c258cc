/** Tabs and IndexedDB in Chromium, two pages of one browser side by side. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startChromium } from "./chromium.mjs";

const PAGE = '<!doctype html><script type="module" src="/page.js"></script>';
const SCRIPT = `
  import * as donjon from "/dist/inline.js";
  import { indexedDb } from "/dist/indexeddb.js";
  import { tabs } from "/dist/tabs.js";
  globalThis.open = (store, options = {}) => donjon.createCache({ ...options, store: store === "tabs" ? tabs() : indexedDb(store) });
  globalThis.until = async (holds) => {
    const deadline = performance.now() + 10_000;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error("what was awaited did not come about: " + holds);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  globalThis.isReady = true;
`;
const WORKER = `
  import { createCache } from "/dist/inline.js";
  import { tabs } from "/dist/tabs.js";
  const cache = createCache({ namespace: "with-worker", store: tabs() });
  cache.set("theirs", 1).then(() => postMessage("ready"));
  const timer = setInterval(() => {
    if (cache.peek("theirs") !== undefined) return;
    clearInterval(timer);
    cache.delete("ours").then(() => postMessage("gone"));
  }, 1);
`;

let folder, server, origin, browser;

before(async () => {
  server = createServer(({ url }, response) => {
    const isScript = url.endsWith(".js");
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    if (url === "/page.js") response.end(SCRIPT);
    else if (url === "/worker.js") response.end(WORKER);
    else if (isScript) response.end(readFileSync(new URL(`..${url}`, import.meta.url)));
    else response.end(PAGE);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${server.address().port}`;
  folder = mkdtempSync(join(tmpdir(), "donjon-chromium-"));
  browser = await startChromium(folder);
});

after(async () => {
  await browser?.close();
  server?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function pages(t, count, at = origin) {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const page = await browser.newPage();
      t.after(() => page.close());
      await page.goto(at);
      await page.waitForFunction(() => globalThis.isReady);
      return page;
    }),
  );
}

test("what one tab has stored in IndexedDB others have, also after the page is loaded anew", async (t) => {
  const [one, other] = await pages(t, 2);
  await one.evaluate(async () => {
    const cache = open("stored");
    await cache.set("k", { n: 1, text: "ü" }, { tags: ["t"] });
    await cache.set("bytes", Uint8Array.of(1, 2));
  });
  const read = async () => {
    const cache = open("stored");
    return { value: await cache.get("k"), bytes: [...(await cache.get("bytes"))], tags: (await cache.explain("k")).tags };
  };
  const expected = { value: { n: 1, text: "ü" }, bytes: [1, 2], tags: ["t"] };
  assert.deepEqual(await other.evaluate(read), expected);
  await one.reload();
  await one.waitForFunction(() => globalThis.isReady);
  assert.deepEqual(await one.evaluate(read), expected);
});

test("tabs over IndexedDB share one load, and what one invalidates no other stores or serves", async (t) => {
  const both = await pages(t, 2);
  const [one, other] = both;
  const load = () => {
    globalThis.cache = open("shared");
    globalThis.loads = 0;
    globalThis.ending = new Promise((resolve) => (globalThis.end = resolve));
    globalThis.loaded = cache.getOrSet("k", async () => {
      loads++;
      await ending;
      return "v";
    });
  };
  await one.evaluate(load);
  await one.waitForFunction(() => loads === 1);
  await other.evaluate(load);
  await one.evaluate(() => end());
  await other.evaluate(() => end());
  assert.deepEqual(await Promise.all(both.map((page) => page.evaluate(() => loaded))), ["v", "v"]);
  assert.deepEqual(await Promise.all(both.map((page) => page.evaluate(() => loads))), [1, 0]);

  await other.evaluate(() => cache.clear());
  assert.equal(await one.evaluate(() => cache.get("k")), undefined);
  await one.evaluate(load);
  await one.waitForFunction(() => loads === 1);
  await other.evaluate(() => cache.delete("k"));
  await one.evaluate(() => end());
  assert.equal(await one.evaluate(() => loaded), "v");
  assert.equal(await other.evaluate(() => cache.get("k")), undefined);
});

test("a load goes over to another tab where the one that loads is closed", async (t) => {
  const [one, other] = await pages(t, 2);
  await one.evaluate(() => {
    globalThis.begun = false;
    void open("closed").getOrSet("k", () => new Promise(() => (globalThis.begun = true)));
  });
  await one.waitForFunction(() => begun);
  await other.evaluate(() => {
    globalThis.loaded = open("closed").getOrSet("k", () => "of other");
  });
  await one.close();
  assert.equal(await other.evaluate(() => loaded), "of other");
  assert.equal(await other.evaluate(() => open("closed").get("k")), "of other");
});

test("tabs over IndexedDB count together, and hold a lock one at a time", async (t) => {
  const both = await pages(t, 2);
  const sums = both.map((page) =>
    page.evaluate(async () => {
      globalThis.cache = open("counted");
      for (let time = 0; time < 50; time++) await cache.incr("n");
    }),
  );
  await Promise.all(sums);
  assert.equal(await both[0].evaluate(() => cache.get("n")), 100);
  await both[0].evaluate(async () => (globalThis.held = await cache.lock("l", { ttl: "1m" })));
  await both[1].evaluate(() => {
    globalThis.isHeld = false;
    globalThis.holding = cache.lock("l", { ttl: "1m", wait: 60_000 }).then(() => (isHeld = true));
  });
  assert.equal(await both[1].evaluate(() => isHeld), false);
  await both[0].evaluate(() => held.release());
  assert.equal(await both[1].evaluate(() => holding), true);
});

test("where the browser has no room, values are not stored, loaders run, and invalidations hold", async (t) => {
  // Of an origin that has stored nothing yet, as room that was found before is remembered.
  const full = origin.replace("127.0.0.1", "localhost");
  const [page] = await pages(t, 1, full);
  const session = await browser.newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: full, quotaSize: 1_000 });
  const outcome = await page.evaluate(async () => {
    const cache = open("full", { strict: true });
    const refused = await cache.set("k", 1).catch((error) => error.name);
    const loaded = [await cache.getOrSet("k", () => "one"), await cache.getOrSet("k", () => "two")];
    return { refused, loaded, found: (await cache.get("k")) ?? null, removed: await cache.deleteMany(["k"]) };
  });
  assert.deepEqual(outcome, {
    refused: "BackendUnavailableError",
    loaded: ["one", "two"],
    found: null,
    removed: { count: 0, queued: false },
  });
});

test("memories of tabs and workers are in step", async (t) => {
  const [one, other] = await pages(t, 2);
  for (const page of [one, other]) await page.evaluate(() => (globalThis.cache = open("tabs")));
  await other.evaluate(() => cache.getOrSet("k", () => "old", { tags: ["t"] }));
  await one.evaluate(() => cache.invalidateTags("t"));
  await other.evaluate(() => until(() => cache.peek("k") === undefined));
  await other.evaluate(() => cache.getOrSet("k", () => "old"));
  await one.evaluate(() => cache.set("k", "new"));
  await other.evaluate(() => until(() => cache.peek("k") === undefined));
  assert.equal(await one.evaluate(() => cache.peek("k")), "new");

  await one.evaluate(async () => {
    const cache = open("tabs", { namespace: "with-worker" });
    const worker = new Worker("/worker.js", { type: "module" });
    const said = [];
    worker.onmessage = ({ data }) => said.push(data);
    await until(() => said.includes("ready"));
    await cache.getOrSet("ours", () => 1);
    await cache.delete("theirs");
    await until(() => said.includes("gone") && cache.peek("ours") === undefined);
  });
});

test("tabs in step load a key one after the other, and a tab that is closed lets the next one in", async (t) => {
  const [one, other] = await pages(t, 2);
  for (const page of [one, other]) await page.evaluate(() => (globalThis.cache = open("tabs", { namespace: "turns" })));
  await one.evaluate(() => {
    globalThis.begun = false;
    void cache.getOrSet("k", () => new Promise(() => (globalThis.begun = true)));
  });
  await one.waitForFunction(() => begun);
  await other.evaluate(() => {
    globalThis.begun = false;
    globalThis.loaded = cache.getOrSet("k", () => (begun = true));
  });
  const waiting = await other.evaluate(() => navigator.locks.query());
  assert.deepEqual([waiting.held.length, waiting.pending.length], [1, 1]);
  assert.equal(await other.evaluate(() => begun), false);
  await one.close();
  assert.equal(await other.evaluate(() => loaded), true);
});

test("a tab that the browser froze, or put aside, has an empty memory when it wakes", async (t) => {
  // Without a screen Chromium does neither, so it is only told of it.
  const [page] = await pages(t, 1);
  const left = await page.evaluate(async () => {
    const cache = open("tabs", { namespace: "frozen" });
    const events = [
      () => document.dispatchEvent(new Event("resume")),
      () => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })),
      () => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: false })),
    ];
    const left = [];
    for (const happens of events) {
      await cache.set("k", 1);
      happens();
      left.push(cache.peek("k") ?? null);
    }
    return left;
  });
  assert.deepEqual(left, [null, null, 1]);
});
