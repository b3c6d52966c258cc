// The README and docs/ say what is so: every JavaScript snippet is run, page by page, as a reader would who types them in one after
// another.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const top = fileURLToPath(new URL("../..", import.meta.url));
const SNIPPET = /^```js\n(.*?)^```$/gms;
const IMPORTED = /(from |resolve\()"((?:donjon|redis|ioredis|keyv)\b[^"]*)"/g;

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "wasm/README.md",
  ...(await readdir(join(top, "docs"))).filter((name) => name.endsWith(".md")).map((name) => join("docs", name)),
];

/** The snippets of a page as one module, each on its own lines, so that an error names the line of the page. */
function moduleOf(text) {
  let [source, from] = ["", 0];
  for (const found of text.matchAll(SNIPPET)) {
    const at = found.index + "```js\n".length;
    source += "\n".repeat(text.slice(from, at).split("\n").length - 1) + found[1];
    from = at + found[1].length;
  }
  return source.replaceAll(IMPORTED, (_, before, name) => `${before}"${import.meta.resolve(name)}"`);
}

async function run(text) {
  const folder = await mkdtemp(join(tmpdir(), "donjon-docs-"));
  try {
    const path = join(folder, "page.mjs");
    await writeFile(path, moduleOf(text));
    await import(pathToFileURL(path));
  } finally {
    await rm(folder, { recursive: true });
  }
}

for (const page of pages) {
  const text = await readFile(join(top, page), "utf8");
  if (text.includes("```js\n")) test(`every snippet of ${page} runs`, () => run(text));
}

test("a wrong snippet is told by its line", async () => {
  const page = '# A page\n\n```js\nconst value = 1;\n```\n\n```js\nif (value !== 2) throw new Error("wrong");\n```\n';
  const wrong = await run(page).then(
    () => assert.fail("it ran"),
    (error) => error,
  );
  assert.match(wrong.stack, /wrong\n.*page\.mjs:8:/);
});
