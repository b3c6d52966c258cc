// The suite in hosts that are started by a command: Deno and Bun.

import assert from "node:assert/strict";
import { test } from "node:test";
import { output, report } from "./hosts.js";

const HOSTS = {
  Deno: ["node_modules/.bin/deno", ["run", "--no-config", "--node-modules-dir=manual", "--no-prompt", "--allow-read"]],
  Bun: ["node_modules/.bin/bun", []],
};

for (const [name, [command, args]] of Object.entries(HOSTS)) {
  test(`the suite in ${name}`, async (t) => {
    report(t, JSON.parse(await output(command, [...args, "test/hosts/command.js"])));
  });

  test(`a cache does not keep a program of ${name} running`, { timeout: 60_000 }, async () => {
    assert.equal(await output(command, [...args, "test/hosts/idle.js"]), "done\n");
  });
}
