// Builds the package into dist/: the core as a module, the entries that bring it along, and their types.
//
// Needs cargo with the target wasm32-unknown-unknown, and the packages of package.json. With `--trap` it builds, into dist-trap/ and
// quickly, what the tests of traps need: a core that traps when told to, and the entry that is handed a core.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateRawSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const trap = process.argv.includes("--trap");
const here = fileURLToPath(new URL(".", import.meta.url));
const top = fileURLToPath(new URL("..", import.meta.url));
const dist = `${here}${trap ? "dist-trap" : "dist"}`;
const run = (command, args, cwd = here) => execFileSync(command, args, { cwd, stdio: "inherit" });

const how = trap ? ["--features", "trap"] : ["--profile", "wasm"];
run("cargo", ["build", "--quiet", ...how, "--package", "donjon-wasm", "--target", "wasm32-unknown-unknown"], top);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const compiled = `${process.env.CARGO_TARGET_DIR ?? `${top}target`}/wasm32-unknown-unknown/${trap ? "debug" : "wasm"}/donjon_wasm.wasm`;
const small = `${compiled}.small`;
const isOlder = (file, than) => (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) < statSync(than).mtimeMs;
if (!trap && (isOlder(small, compiled) || isOlder(small, `${here}build.mjs`))) {
  // No feature flags: the module says itself which it needs, and more of them would shut older hosts out.
  run("node_modules/.bin/wasm-opt", ["-Oz", "--converge", "--strip-debug", "--strip-producers", "-o", small, compiled]);
}
copyFileSync(trap ? compiled : small, `${dist}/core.wasm`);
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(top + name, here + name);
const wasm = readFileSync(`${dist}/core.wasm`);
new WebAssembly.Module(wasm);

/** What the package exports that is named like this. */
function exported(named, target = JSON.parse(readFileSync(`${here}package.json`, "utf8")).exports) {
  if (typeof target === "object") return Object.values(target).flatMap((one) => exported(named, one));
  return named.exec(target)?.[1] ?? [];
}

// The scripts that are exported are what is built.
const entries = trap ? ["slim", "redis"] : exported(/^\.\/dist\/(\w+)\.js$/);
await build({
  entryPoints: entries.map((name) => `${here}ts/${name}.ts`),
  outdir: dist,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  platform: "neutral",
  minify: true,
  keepNames: false,
  legalComments: "none",
  chunkNames: "chunk-[hash]",
  external: ["*.wasm", "*.wasm?module"],
  plugins: [
    {
      // Deflated first: letters of what is packed already pack again to about its size, those of the module itself to a third more.
      name: "the core, in letters",
      setup({ onResolve, onLoad }) {
        const letters = deflateRawSync(wasm, { level: 9 }).toString("base64");
        onResolve({ filter: /^core:letters$/ }, () => ({ path: "core", namespace: "core" }));
        onLoad({ filter: /.*/, namespace: "core" }, () => ({ contents: letters, loader: "text" }));
      },
    },
  ],
});

/** Takes the types away to which those that are exported do not lead. */
function pruneTypes() {
  const types = `${dist}/types`;
  const reached = new Set();
  const reach = (file) => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const [, to] of readFileSync(file, "utf8").matchAll(/["'](\.[^"']+)\.js["']/g)) reach(resolve(dirname(file), `${to}.d.ts`));
  };
  for (const name of exported(/^\.\/dist\/types\/(.+)$/)) reach(resolve(types, name));
  for (const name of readdirSync(types, { recursive: true })) {
    const file = resolve(types, name);
    if (file.endsWith(".d.ts") && !reached.has(file)) rmSync(file);
  }
}

if (!trap) {
  run("node_modules/.bin/tsc", ["-p", here]);
  pruneTypes();
  const kilobytes = (bytes) => (bytes / 1_000).toFixed(1).padStart(7);
  for (const name of ["core.wasm", ...entries.map((entry) => `${entry}.js`)]) {
    const bytes = readFileSync(`${dist}/${name}`);
    console.log(`${kilobytes(bytes.length)} kB, gzip ${kilobytes(gzipSync(bytes, { level: 9 }).length)} kB  ${name}`);
  }
}
