/** Chromium, as every test starts it: it asks the net for nothing, and shows nothing. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts it with a profile in this folder, or with one that is gone when it ends. */
export async function startChromium(folder) {
  const executablePath =
    process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  assert.ok(executablePath, "a Chromium is needed: install Debian's chromium, or name one in CHROMIUM");
  const how = { executablePath, headless: true, args: QUIET };
  return folder === undefined ? chromium.launch(how) : chromium.launchPersistentContext(folder, how);
}
