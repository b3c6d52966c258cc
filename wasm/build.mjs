// Builds the package into dist/: the modules of the core, the entries that bring them along, and their types.
//
// Needs cargo with the target wasm32-unknown-unknown, and the packages of package.json. With `--trap` it builds, into dist-trap/ and
// quickly, what the tests of traps need: modules that trap when told to, and the entries that are handed or bring them. With
// `--maps` the scripts are left as long as they are and say where in ts/ each line comes from, which is what coverage goes by.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const trap = process.argv.includes("--trap");
const maps = process.argv.includes("--maps");
const here = fileURLToPath(new URL(".", import.meta.url));
const top = fileURLToPath(new URL("..", import.meta.url));
const dist = `${here}${trap ? "dist-trap" : "dist"}`;
const run = (command, args, cwd = here) => execFileSync(command, args, { cwd, stdio: "inherit" });

/** By the command: Node's own compression comes to other bytes on other processors. */
const gzipped = (bytes) => execFileSync("gzip", ["-9n"], { input: bytes, maxBuffer: 2 ** 26 });
/** What it puts around what is deflated, in bytes: there is no name (RFC 1952). */
const [GZIP_HEADER, GZIP_TRAILER] = [10, 8];

/** The modules: what they are called in Rust, and where TypeScript is told where they come from. */
const MODULES = {
  core: { crate: "donjon-wasm", source: "MEMORY", of: "core" },
  remote: { crate: "donjon-wasm-remote", source: "REMOTE", of: "redis/instance" },
  near: { crate: "donjon-wasm-near", source: "NEAR", of: "redis/near" },
};

const how = trap
  ? [
      "--features",
      Object.values(MODULES)
        .map(({ crate }) => `${crate}/trap`)
        .join(),
    ]
  : ["--profile", "wasm"];
const crates = Object.values(MODULES).flatMap(({ crate }) => ["--package", crate]);
run("cargo", ["build", "--quiet", ...how, ...crates, "--target", "wasm32-unknown-unknown"], top);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
for (const [name, { crate }] of Object.entries(MODULES)) {
  const target = `${process.env.CARGO_TARGET_DIR ?? `${top}target`}/wasm32-unknown-unknown/${trap ? "debug" : "wasm"}`;
  const compiled = `${target}/${crate.replaceAll("-", "_")}.wasm`;
  const packed = `${compiled}.small`;
  const isOlder = (file, than) => (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) < statSync(than).mtimeMs;
  if (!trap && (isOlder(packed, compiled) || isOlder(packed, `${here}build.mjs`))) {
    // No feature flags: the module says itself which it needs, and more of them would shut older hosts out.
    // What is lowest in memory is the far end of the stack, where nothing is before it is exhausted.
    // How an access is aligned is a hint that no host takes, and differs for nothing.
    // No access is out of bounds and no divisor zero: Rust looks before. What it finds wrong is `unreachable`, which stays.
    // Twice more from flat code, whose branches are then laid anew: that finds another two in a hundred; and once more with what is
    // known by then of what each function touches. What has similar names is alike, and packs better side by side.
    const small = ["-Oz", "--converge", "--low-memory-unused", "--dealign", "--ignore-implicit-traps"];
    const anew = ["--flatten", "--rereloop", ...small];
    const known = ["--generate-global-effects", ...small];
    const strip = ["--reorder-functions-by-name", "--strip-debug", "--strip-producers", "--strip-target-features"];
    const passes = ["--remove-exports=__*", ...small, ...anew, ...anew, ...known, ...strip];
    run("node_modules/.bin/wasm-opt", [...passes, "-o", packed, compiled]);
  }
  copyFileSync(trap ? compiled : packed, `${dist}/${name}.wasm`);
  new WebAssembly.Module(readFileSync(`${dist}/${name}.wasm`));
}
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(top + name, here + name);

/** What the package exports that is named like this. */
function exported(named, target = JSON.parse(readFileSync(`${here}package.json`, "utf8")).exports) {
  if (typeof target === "object") return Object.values(target).flatMap((one) => exported(named, one));
  return named.exec(target)?.[1] ?? [];
}

/** The entries that bring modules along, and which. Of each there is one for each kind of host. */
const BRINGING = { index: ["core"], redis: ["remote", "near"], near: ["near"], upstash: ["remote"], kv: ["remote"], indexeddb: ["remote"] };

/** How a kind of host is given a module: within the script, so that it needs no file and bundles anywhere, or by an import. */
const GIVEN = {
  inline: (name) => `import ${name} from "letters:${name}"; import { unpacked as ${name}Of } from "./letters.js";`,
  workerd: (name) => `import ${name} from "./${name}.wasm"; const ${name}Of = (module) => module;`,
  edge: (name) => `import ${name} from "./${name}.wasm?module"; const ${name}Of = (module) => module;`,
};

/** What an exported script is made of: a file of that name, or one that modules are brought for. */
function sourceOf(script) {
  const [of, kind] = script in GIVEN ? ["index", script] : script.split(".");
  const names = BRINGING[of];
  if (names === undefined) return { file: script };
  const brought = names.map((name) => {
    const { source, of: file } = MODULES[name];
    return `${GIVEN[kind ?? "inline"](name)} import { ${source} } from "./${file}.js"; ${source}.comesFrom(() => ${name}Of(${name}));`;
  });
  return { text: `${brought.join("\n")} export * from "./${of}.js";` };
}

const entries = trap ? ["slim", "redis", "kv", "near"] : exported(/^\.\/dist\/([\w.]+)\.js$/);
await build({
  entryPoints: entries.map((name) => ({ in: `entry:${name}`, out: name })),
  outdir: dist,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  platform: "neutral",
  minify: !maps,
  sourcemap: maps && "inline",
  keepNames: false,
  legalComments: "none",
  chunkNames: "chunk-[hash]",
  external: ["*.wasm", "*.wasm?module"],
  plugins: [
    {
      name: "entries, and modules in letters",
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^entry:/ }, ({ path }) => {
          const { file } = sourceOf(path.slice(6));
          return file === undefined ? { path: path.slice(6), namespace: "entry" } : { path: `${here}ts/${file}.ts` };
        });
        onLoad({ filter: /.*/, namespace: "entry" }, ({ path }) => ({ contents: sourceOf(path).text, resolveDir: `${here}ts` }));
        onResolve({ filter: /^letters:/ }, ({ path }) => ({ path: path.slice(8), namespace: "letters" }));
        // Deflated first: letters of what is packed already pack again to about its size, those of the module itself to a third more.
        onLoad({ filter: /.*/, namespace: "letters" }, ({ path }) => {
          const deflated = gzipped(readFileSync(`${dist}/${path}.wasm`)).subarray(GZIP_HEADER, -GZIP_TRAILER);
          return { contents: deflated.toString("base64"), loader: "text" };
        });
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
  for (const name of [...Object.keys(MODULES).map((name) => `${name}.wasm`), ...entries.map((entry) => `${entry}.js`)]) {
    const bytes = readFileSync(`${dist}/${name}`);
    console.log(`${kilobytes(bytes.length)} kB, gzip ${kilobytes(gzipped(bytes).length)} kB  ${name}`);
  }
}
