// A `redis-server` of a test's own, on a free loopback port and in a folder that goes with it.
//
// Owns the process from its start to its end: no server outlives the test that started it, not even one that is killed. The same words
// as in `tests/redis`, which has the servers of the other languages' tests.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";

const PATIENCE = 20_000;
const POLL = 2;
const TRIES = 20;

// The user that is added to each server, so that passwords and ACLs under test never lock the test out. The password is no secret: the
// server listens on the loopback for the length of a test.
const USER = "donjon-test-kit";
const PASSWORD = "kit";

// Reads until the process that holds the other end is gone, which may be by a signal that nobody can catch.
const GUARD = 'trap "" HUP INT TERM; read -r _; kill -KILL "$1"; rm -rf "$2"';

export class RedisServer {
  #options;
  #process;

  /**
   * Starts one. `users`: by the rules of an ACL; `appendOnly`: keeps what was written on disk for the next start; `memory`: bytes and
   * policy; `options`: other settings of `redis.conf`.
   */
  static async start(settings = {}) {
    const server = new RedisServer(settings);
    for (let attempt = 0; attempt < TRIES; attempt++) {
      server.port = await freePort();
      if (await server.#start()) return server;
    }
    throw new Error(`found no free port in ${TRIES} tries`);
  }

  constructor({ password, users = {}, appendOnly = false, memory, options = {} }) {
    this.password = password;
    this.folder = mkdtempSync(join(tmpdir(), "donjon-redis-"));
    this.socket = join(this.folder, "redis.sock");
    this.#options = ["--save", "", "--appendonly", appendOnly ? "yes" : "no", "--repl-diskless-sync-delay", "0"];
    // What was answered is on disk, also where the server is killed at once: by default it may put writing off by two seconds.
    this.#options.push("--appendfsync", "always");
    this.#options.push("--dir", this.folder, "--unixsocket", this.socket);
    this.#options.push("--user", USER, "on", `>${PASSWORD}`, "~*", "&*", "+@all");
    if (password !== undefined) this.#options.push("--requirepass", password);
    for (const [user, rules] of Object.entries(users)) this.#options.push("--user", user, ...rules.split(" "));
    if (memory !== undefined) this.#options.push("--maxmemory", String(memory[0]), "--maxmemory-policy", memory[1]);
    for (const [name, value] of Object.entries(options)) this.#options.push(`--${name}`, value);
  }

  get url() {
    const login = this.password === undefined ? "" : `:${encodeURIComponent(this.password)}@`;
    return `redis://${login}127.0.0.1:${this.port}`;
  }

  get pid() {
    return this.#process.server.pid;
  }

  /** One command over a connection of its own, by a user who may do everything; texts in the answer. */
  ask(...words) {
    return this.#asked((client) => client.call(...words));
  }

  /** As {@link RedisServer.ask}, bytes in the answer. */
  askBytes(...words) {
    return this.#asked((client) => client.callBuffer(...words));
  }

  async #asked(call) {
    const client = new Redis({
      path: this.socket,
      username: USER,
      password: PASSWORD,
      lazyConnect: true,
      retryStrategy: null,
      enableReadyCheck: false,
      disableClientInfo: true,
      connectTimeout: PATIENCE,
    });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return await call(client);
    } finally {
      client.disconnect();
    }
  }

  /** A field of `INFO`. */
  async info(field) {
    const line = (await this.ask("INFO", "all")).split("\r\n").find((line) => line.startsWith(`${field}:`));
    return line?.slice(field.length + 1);
  }

  /** Stops the process where it stands: sockets stay open and nobody answers. */
  async pause() {
    process.kill(this.pid, "SIGSTOP");
    // The signal is on its way only: wait until it has come.
    await until("the server stands still", () => readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1].startsWith("T"));
  }

  resume() {
    process.kill(this.pid, "SIGCONT");
  }

  /** Ends the process at once and without a word, as a crash does. Its port refuses from now on. */
  async kill() {
    const ended = this.#process;
    this.#process = undefined;
    if (ended === undefined) return;
    // The guard first: once the server is gone, its number may belong to somebody else.
    for (const one of [ended.guard, ended.server]) {
      if (one.exitCode !== null || one.signalCode !== null) continue;
      one.ref();
      one.kill("SIGKILL");
      await once(one, "exit");
    }
  }

  /** Starts it again on the same port; without `appendOnly` it forgot everything. */
  async restart() {
    await this.kill();
    await until("the port is free again", () => this.#start());
  }

  /** Makes this server a read-only copy of another. */
  async replicaOf(primary) {
    await this.ask("CONFIG", "SET", "masteruser", USER);
    await this.ask("CONFIG", "SET", "masterauth", PASSWORD);
    await this.ask("REPLICAOF", "127.0.0.1", primary.port);
    await until("the replica has caught up", async () => (await this.info("master_link_status")) === "up");
  }

  async close() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Whether it runs now; not where somebody else has its port. */
  async #start() {
    const log = join(this.folder, "redis.log");
    const out = openSync(log, "w");
    const program = process.env.REDIS_SERVER ?? "redis-server";
    const server = spawn(program, ["--bind", "127.0.0.1", "--port", String(this.port), ...this.#options], { stdio: ["ignore", out, out] });
    await once(server, "spawn");
    const guard = spawn("sh", ["-c", GUARD, "guard", String(server.pid), this.folder], { stdio: ["pipe", "ignore", "ignore"] });
    guard.stdin.on("error", () => undefined);
    guard.unref();
    server.unref();
    this.#process = { server, guard };
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      try {
        // The socket lies in the server's own folder: who answers there is no other test's server.
        await this.ask("PING");
        return true;
      } catch (error) {
        const text = readFileSync(log, "utf8");
        if (server.exitCode === null && performance.now() < deadline) {
          await sleep(POLL);
          continue;
        }
        await this.kill();
        if (text.includes("Address already in use")) return false;
        throw new Error(`the server did not start; its log ends:\n${text.split("\n").slice(-10).join("\n")}`, { cause: error });
      }
    }
  }
}

/** Waits until something holds, for as long as a test can spare. */
export async function until(what, holds) {
  const deadline = performance.now() + PATIENCE;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await sleep(POLL);
  }
}

/** A port that nobody listens on, below those that systems hand out to the near end of connections. */
async function freePort() {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    const probe = createServer();
    try {
      await new Promise((resolve, reject) => {
        probe.once("error", reject).listen(port, "127.0.0.1", resolve);
      });
      await new Promise((resolve) => probe.close(resolve));
      return port;
    } catch {}
  }
}
