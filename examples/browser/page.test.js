import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

let server;
let browser;
let address;

before(async () => {
  const script = fileURLToPath(new URL("serve.js", import.meta.url));
  server = spawn(process.execPath, [script], { env: { ...process.env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  [address] = await once(createInterface(server.stdout), "line");
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
  server?.kill();
});

const read = (page, id) => page.locator(`#${id}`).evaluate((output) => output.value);

/** Shows the price again until it is this one. */
async function shows(page, price) {
  do await page.click("#show");
  while ((await read(page, "price")) !== price);
}

test("what one tab changes, the other does not show any more, and no tab asks more than it must", { timeout: 120_000 }, async () => {
  const context = await browser.newContext();
  const [one, other] = await Promise.all([context.newPage(), context.newPage()]);
  for (const page of [one, other]) {
    page.on("pageerror", (error) => assert.fail(error));
    await page.goto(address);
    await shows(page, "30");
    for (let at = 0; at < 5; at++) await page.click("#show");
    assert.equal(await read(page, "asked"), "1");
  }
  await one.click("#raise");
  await shows(one, "31");
  await shows(other, "31");
  await other.click("#raise");
  await shows(other, "32");
  await shows(one, "32");
  assert.deepEqual([await read(one, "asked"), await read(other, "asked")], ["3", "3"]);
});
