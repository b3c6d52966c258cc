// The suite in Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cases, run } from "../suite/index.js";
import { output, vectors } from "./hosts.js";

const shared = await vectors();

for (const one of cases) test(one.name, () => run(one, shared));

test("a cache does not keep a program running", { timeout: 60_000 }, async () => {
  assert.equal(await output(process.execPath, ["test/hosts/idle.js"]), "done\n");
});
