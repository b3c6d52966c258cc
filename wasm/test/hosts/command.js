// Runs the suite in a host that is started by a command, and prints what became of each case.

import { readFile } from "node:fs/promises";
import process from "node:process";
import { runAll } from "../suite/index.js";

const read = async (name) => JSON.parse(await readFile(new URL(`../../../tests/cases/${name}.json`, import.meta.url), "utf8"));
process.stdout.write(JSON.stringify(await runAll({ keys: await read("keys"), glob: await read("glob") })));
