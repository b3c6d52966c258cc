/** Hosts: how the outcome of the suite elsewhere becomes tests here, and what the suite is handed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { cases } from "../suite/index.js";

/** The folder of the package. */
export const wasm = fileURLToPath(new URL("../..", import.meta.url));

/** The cases that all languages share. */
export async function vectors() {
  const read = async (name) => JSON.parse(await readFile(`${wasm}../tests/cases/${name}.json`, "utf8"));
  const calls = (await readdir(`${wasm}../tests/cases/calls`)).map((file) => read(`calls/${file.replace(/\.json$/, "")}`));
  return { keys: await read("keys"), glob: await read("glob"), calls: await Promise.all(calls) };
}

/** Says which cases ran elsewhere; none may have failed, and all that run in Node must be there. */
export function report(t, results) {
  const subjects = new Map();
  for (const { name } of results) {
    const [subject] = name.split(": ");
    subjects.set(subject, (subjects.get(subject) ?? 0) + 1);
  }
  t.diagnostic(`${results.length} cases ran: ${[...subjects].map(([subject, count]) => `${subject} ${count}`).join(", ")}`);
  const failed = results.filter(({ error }) => error !== undefined);
  assert.equal(failed.length, 0, failed.map(({ name, error }) => `${name}\n  ${error}`).join("\n"));
  assert.deepEqual(
    results.map(({ name }) => name),
    cases.map(({ name }) => name),
    "the cases that ran",
  );
}

/** Runs a command in the package's folder; gives what it printed. */
export async function output(command, args) {
  // Deno keeps what it compiles; here, not in the user's folder.
  const env = { ...process.env, DENO_DIR: `${wasm}node_modules/.cache/deno`, DENO_NO_UPDATE_CHECK: "1" };
  const child = spawn(command, args, { cwd: wasm, env, stdio: ["ignore", "pipe", "pipe"] });
  const [printed, errors] = [[], []];
  child.stdout.on("data", (part) => printed.push(part));
  child.stderr.on("data", (part) => errors.push(part));
  const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  assert.equal(status, 0, `${command} ended with ${status}: ${Buffer.concat(errors)}`);
  return Buffer.concat(printed).toString("utf8");
}
