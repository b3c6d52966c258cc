/** Cloudflare's workerd with a worker, by default that beside this file, and the built package; it ends with the test. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

import workerd from "workerd";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const WORKER = fileURLToPath(new URL("worker.mjs", import.meta.url));

export class Workerd {
  #process;
  #folder = mkdtempSync(`${tmpdir()}/donjon-workerd-`);
  url;

  /** Starts it; `bindings` are texts that the worker finds in its environment, and `kv` is the port of a KV namespace, as `CACHE`. */
  static async start(bindings, { worker = WORKER, kv } = {}) {
    const host = new Workerd();
    const config = `${host.#folder}/config.capnp`;
    writeFileSync(
      config,
      configOf(bindings, worker, kv, (file) => relative(host.#folder, file)),
    );
    host.#process = spawn(workerd.default, ["serve", config, "--control-fd=3"], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
    const port = await new Promise((resolve, reject) => {
      let told = "";
      host.#process.stdio[3].on("data", (more) => {
        const listening = /"event":"listen".*"port":(\d+)/.exec((told += more));
        if (listening !== null) resolve(listening[1]);
      });
      host.#process.on("exit", () => reject(new Error("workerd did not start")));
    });
    host.url = `http://127.0.0.1:${port}`;
    return host;
  }

  /** What the worker answers. */
  async ask(...path) {
    const response = await fetch(`${this.url}/${path.map(encodeURIComponent).join("/")}`);
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return JSON.parse(text);
  }

  async end() {
    const over = once(this.#process, "exit");
    this.#process.kill();
    await over;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function configOf(bindings, worker, kv, embed) {
  const files = readdirSync(DIST).filter((name) => name.endsWith(".js"));
  const modules = [
    `(name = "worker.mjs", esModule = embed "${embed(worker)}")`,
    ...["core.wasm", "near.wasm", "remote.wasm"].map((name) => `(name = "dist/${name}", wasm = embed "${embed(DIST + name)}")`),
    ...files.map((name) => `(name = "dist/${name}", esModule = embed "${embed(DIST + name)}")`),
  ];
  const texts = Object.entries(bindings).map(([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`);
  const [namespace, service] =
    kv === undefined
      ? ["", ""]
      : ['(name = "CACHE", kvNamespace = "kv"), ', `, (name = "kv", external = (address = "127.0.0.1:${kv}", http = ()))`];
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker), (name = "internet", network = (allow = ["local", "private", "public"]))${service}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [${modules.join(",\n    ")}],
  bindings = [${namespace}${texts.join(", ")}],
  compatibilityDate = "2025-01-01",
);
`;
}
