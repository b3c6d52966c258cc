// The suite in Node.

import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { cases, run } from "./suite/index.js";

const read = async (name) => JSON.parse(await readFile(new URL(`../../tests/cases/${name}.json`, import.meta.url), "utf8"));
const vectors = { keys: await read("keys"), glob: await read("glob") };

for (const one of cases) test(one.name, () => run(one, vectors));
