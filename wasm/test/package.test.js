// The package as it is published: what is in it, how large it is, and that programs and compilers find their way into it.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { build } from "esbuild";

const wasm = fileURLToPath(new URL("..", import.meta.url));
const limits = JSON.parse(await readFile(`${wasm}test/limits.json`, "utf8"));
const bin = (name) => `${wasm}node_modules/.bin/${name}`;

/** A program's folder with the package in it as npm would put it there, and nothing else. */
let program;
let archive;
let manifest;

/** Runs a command in the program's folder; what it prints is the reason where it fails. */
async function run(command, args, cwd = program) {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 2 ** 26 });
    return stdout;
  } catch (error) {
    assert.fail(`${command} ${args.join(" ")}\n${error.stdout ?? ""}${error.stderr ?? error}`);
  }
}

before(async () => {
  program = await mkdtemp(join(tmpdir(), "donjon-package-"));
  const modules = join(program, "node_modules");
  await mkdir(modules);
  archive = join(program, (await run("npm", ["pack", "--silent", "--pack-destination", program], wasm)).trim());
  await run("tar", ["-xzf", archive, "-C", modules]);
  await rename(join(modules, "package"), join(modules, "donjon"));
  await cp(`${wasm}test/types`, program, { recursive: true });
  await writeFile(join(program, "package.json"), '{ "type": "module" }');
  manifest = JSON.parse(await readFile(join(modules, "donjon/package.json"), "utf8"));
  const others = scripts().filter((name) => name !== "donjon/slim");
  await writeFile(join(program, "entries.ts"), others.map((name, at) => `export * as entry${at} from "${name}";`).join("\n"));
});

after(() => rm(program, { recursive: true, force: true }));

/** The entries that are scripts, as programs name them. */
const scripts = () => Object.keys(manifest.exports).flatMap((path) => (/\.(wasm|json)$/.test(path) ? [] : [path.replace(/^\./, "donjon")]));

const files = (target) => (typeof target === "string" ? [target] : Object.values(target).flatMap(files));

test("every file that is exported is there, and the licences are", async () => {
  const there = await readdir(join(program, "node_modules/donjon"), { recursive: true });
  for (const file of Object.values(manifest.exports).flatMap(files)) assert.ok(there.includes(file.slice(2)), file);
  for (const file of manifest.sideEffects) assert.ok(there.includes(file.slice(2)), file);
  for (const file of ["LICENSE-APACHE", "LICENSE-MIT"]) assert.ok(there.includes(file), file);
});

test("it needs no other package", () => {
  for (const kind of ["dependencies", "optionalDependencies", "bundledDependencies"]) assert.equal(manifest[kind], undefined);
  for (const name of Object.keys(manifest.peerDependencies ?? {})) assert.ok(manifest.peerDependenciesMeta[name].optional, name);
});

test("each entry for programs can be imported, alone and after the others", async () => {
  const load = scripts().map((name) => `await import(${JSON.stringify(name)});`);
  for (const one of [...load, load.join("\n")]) await run(process.execPath, ["--input-type=module", "--eval", one]);
});

test("it runs where `process` throws when asked for a module, as in an edge runtime, and knows a loader that asks for its own key", async () => {
  const edge = `
    import { AsyncLocalStorage } from "node:async_hooks";
    globalThis.AsyncLocalStorage = AsyncLocalStorage;
    process.getBuiltinModule = () => { throw new Error("not supported in the Edge Runtime"); };
    const { createCache } = await import("donjon");
    const cache = createCache();
    console.log(await cache.getOrSet("k", async () => \`around \${await cache.getOrSet("k", () => "itself")}\`));`;
  assert.equal(await run(process.execPath, ["--input-type=module", "--eval", edge]), "around itself\n");
});

test("an entry that was not given its core says what to do", async () => {
  const asks = `
    import { createCache, initSync } from "donjon/slim";
    import { readFileSync } from "node:fs";
    try { createCache(); } catch (error) { console.log(error.message); }
    initSync(readFileSync(new URL(import.meta.resolve("donjon/core.wasm"))));
    const cache = createCache();
    await cache.set("k", 1);
    console.log(await cache.get("k"));`;
  assert.match(
    await run(process.execPath, ["--input-type=module", "--eval", asks]),
    /call `init` or `initSync` of `donjon\/slim` first\n1\n/,
  );
});

test("publint finds nothing wrong", () => run(bin("publint"), ["run", archive, "--strict"]));

test("are the types wrong? No", () =>
  run(bin("attw"), [archive, "--profile", "esm-only", "--exclude-entrypoints", "core.wasm", "near.wasm", "remote.wasm"]));

const NODE = ["--lib", "es2022", "--types", "node", "--typeRoots", `${wasm}node_modules/@types`];
const BROWSER = ["--lib", "es2022,dom,dom.iterable", "--types", ""];

for (const [host, options, samples] of [
  ["Node", NODE, ["sample.ts", "entries.ts"]],
  ["browsers", BROWSER, ["sample.ts", "entries.ts", "slim.ts"]],
]) {
  for (const [resolution, module] of [
    ["node16", "node16"],
    ["bundler", "esnext"],
  ]) {
    test(`a program for ${host} is understood with moduleResolution ${resolution}`, () =>
      run(bin("tsc"), [
        "--ignoreConfig",
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        module,
        "--moduleResolution",
        resolution,
        ...options,
        ...samples,
      ]));
  }
}

/** Stores that can be made of nothing, how, and the modules that they bring. */
const STORES = {
  upstash: ['upstash({ url: "https://example.com", token: "token" })', ["core", "remote"]],
  kv: ["kv({ async get() { return null; }, put() {}, delete() {}, list() {} })", ["core", "remote"]],
  near: [
    'kv({ async get() { return null; }, put() {}, delete() {}, list() {} }, { near: memory({ ttl: "2s" }) })',
    ["core", "near", "remote"],
  ],
};

for (const [store, [made, modules]] of Object.entries(STORES)) {
  const imported = { near: 'import { memory } from "donjon/near"; import { kv } from "donjon/kv";' }[store];
  const contents = `
    import { createCache } from "donjon";
    ${imported ?? `import { ${store} } from "donjon/${store}";`}
    const cache = createCache({ store: ${made} });
    if (cache.capabilities.reach === "process") await cache.get("k");
    console.log(cache.capabilities.reach);
    await cache.close();`;

  test(`a program with donjon/${store} runs once it is bundled, with all that is not used left out`, async () => {
    const outfile = join(program, `with-${store}.mjs`);
    await build({ stdin: { contents, resolveDir: program }, bundle: true, minify: true, format: "esm", outfile });
    assert.match(await run(process.execPath, [outfile]), /^(all|process)\n$/);
  });

  for (const [condition, ending] of [
    ["workerd", ".wasm"],
    ["edge-light", ".wasm?module"],
  ]) {
    test(`a program with donjon/${store} imports its modules under the condition ${condition}, and holds none`, async () => {
      const { metafile } = await build({
        stdin: { contents, resolveDir: program },
        bundle: true,
        format: "esm",
        conditions: [condition],
        external: ["*.wasm", "*.wasm?module"],
        metafile: true,
        write: false,
      });
      const [output] = Object.values(metafile.outputs);
      assert.deepEqual(
        output.imports.map(({ path }) => path).sort(),
        modules.map((name) => `./${name}${ending}`),
      );
      assert.ok(output.bytes < 400_000, `${output.bytes} bytes of script`);
    });
  }
}

/** By the command: Node's own compression comes to other sizes on other processors. */
const gzipped = (bytes) => execFileSync("gzip", ["-9n"], { input: bytes, maxBuffer: 2 ** 26 }).length;

/** Says how large something is beside where it is to get, and that it has not grown beyond what it was. */
function checkSize(t, what, bytes) {
  const { most, goal } = limits[what];
  const kilobytes = (size) => (size / 1_000).toFixed(1);
  t.diagnostic(`${what}: ${kilobytes(bytes)} kB, ${bytes <= goal ? "within" : "NOT within"} the goal of ${kilobytes(goal)}`);
  assert.ok(bytes <= most, `${what} is ${bytes} bytes, more than ${most}: make it smaller, or say in limits.json why it may grow`);
}

test("what npm packs has not grown", async (t) => checkSize(t, "what npm packs", gzipped(gunzipSync(await readFile(archive)))));

for (const name of ["core.wasm", "near.wasm", "remote.wasm"]) {
  test(`${name} has not grown`, async (t) => {
    const module = await readFile(join(program, "node_modules/donjon/dist", name));
    checkSize(t, `${name}, gzipped`, gzipped(module));
  });
}

test("the default entry has not grown", async (t) => {
  const { outputFiles } = await build({
    stdin: { contents: 'export * from "donjon"', resolveDir: program },
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
  });
  checkSize(t, "the default entry, bundled and gzipped", gzipped(outputFiles[0].contents));
});
