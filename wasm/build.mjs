// Builds the package into dist/: the core as a module, the entries that bring it along, and their types.
//
// Needs cargo with the target wasm32-unknown-unknown, and the packages of package.json. `--trap` adds a call that traps, for tests.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const trap = process.argv.includes("--trap");
const here = fileURLToPath(new URL(".", import.meta.url));
const top = fileURLToPath(new URL("..", import.meta.url));
const dist = `${here}${trap ? "dist-trap" : "dist"}`;
const run = (command, args, cwd = here) => execFileSync(command, args, { cwd, stdio: "inherit" });

const target = process.env.CARGO_TARGET_DIR ?? `${top}target`;
const features = trap ? ["--features", "trap", "--target-dir", `${target}/trap`] : [];
run("cargo", ["build", "--quiet", "--profile", "wasm", "--package", "donjon-wasm", "--target", "wasm32-unknown-unknown", ...features], top);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const compiled = `${target}${trap ? "/trap" : ""}/wasm32-unknown-unknown/wasm/donjon_wasm.wasm`;
// No feature flags: the module says itself which it needs, and more of them would shut older hosts out.
run("node_modules/.bin/wasm-opt", ["-Oz", "--converge", "--strip-debug", "--strip-producers", "-o", `${dist}/core.wasm`, compiled]);
const wasm = readFileSync(`${dist}/core.wasm`);
new WebAssembly.Module(wasm);

const entries = JSON.parse(readFileSync(`${here}package.json`, "utf8")).donjon.entries;
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
      name: "the core, in letters",
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^core:base64$/ }, () => ({ path: "core", namespace: "core" }));
        onLoad({ filter: /.*/, namespace: "core" }, () => ({ contents: wasm.toString("base64"), loader: "text" }));
      },
    },
  ],
});
if (!trap) run("node_modules/.bin/tsc", ["-p", here]);

const kilobytes = (bytes) => (bytes / 1_000).toFixed(1).padStart(7);
const sized = [["core.wasm", wasm], ...entries.map((name) => [`${name}.js`, readFileSync(`${dist}/${name}.js`)])];
for (const [name, bytes] of sized) console.log(`${kilobytes(bytes.length)} kB, gzip ${kilobytes(gzipSync(bytes, { level: 9 }).length)} kB  ${name}`);
