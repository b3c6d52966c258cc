// What the tests over Redis share: caches over each of the client libraries, loaders that wait to be told, and other processes.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { createClient as createClient6 } from "redis";
import { createClient as createClient5 } from "redis5";
import { createCache } from "../../dist/inline.js";
import { redis } from "../../dist/redis.js";
import { RedisProxy } from "./proxy.mjs";
import { RedisServer, until } from "./server.mjs";

export { until };

/** The client libraries, each as what makes a client of a URL. */
export const CLIENTS = {
  "node-redis 6": (url, options = {}) => createClient6({ url, ...options }),
  "node-redis 5": (url, options = {}) => createClient5({ url, ...options }),
  "ioredis 5": (url, options = {}) => new Redis(url, { lazyConnect: true, ...options }),
};

export const FIRST = "node-redis 6";

/** Limits for tests that are not about them. */
export const PATIENT = { commandTimeout: 10_000, connectTimeout: 10_000 };

let namespaces = 0;

/** A namespace that no other test of this process has. */
export function freshNamespace() {
  return `test-${++namespaces}`;
}

/** A cache over a client, to be closed by the test. What it logs is in `cache.logged`. */
export function open(test, url, { client = FIRST, namespace = freshNamespace(), limits = PATIENT, clientOptions, ...options } = {}) {
  const logged = [];
  const store = redis(CLIENTS[client](url, clientOptions), limits);
  const cache = createCache({ namespace, early: 0, log: (message) => logged.push(message), store, ...options });
  cache.logged = logged;
  test.after(() => cache.close());
  return cache;
}

/** A server of a test's own. */
export async function start(test, settings) {
  const server = await RedisServer.start(settings);
  test.after(() => server.close());
  return server;
}

/** A way to a server. */
export async function proxyTo(test, server) {
  const proxy = await RedisProxy.to(server);
  test.after(() => proxy.close());
  return proxy;
}

/** A loader that waits to be let go; it can be waited for. */
export function gate(value) {
  let begin;
  let release;
  const begun = new Promise((resolve) => (begin = resolve));
  const gone = new Promise((resolve) => (release = resolve));
  const loader = async ({ signal } = {}) => {
    loader.calls++;
    loader.signal = signal;
    begin();
    await gone;
    if (value instanceof Error) throw value;
    return typeof value === "function" ? value() : value;
  };
  return Object.assign(loader, { calls: 0, begun, release });
}

/** Lets all that is ready run. */
export async function turn() {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Another process, with caches of its own. */
export class Other {
  #process;
  #answers = new Map();
  #number = 0;

  constructor(url) {
    this.#process = fork(fileURLToPath(new URL("other.mjs", import.meta.url)), [url]);
    this.#process.on("message", ({ number, answer, error }) => {
      const settle = this.#answers.get(number);
      this.#answers.delete(number);
      if (error === undefined) settle.resolve(answer);
      else settle.reject(new Error(error));
    });
  }

  /** Its cache of these settings, which is told what to do by what `other.mjs` knows. */
  cache(settings) {
    const ask = (what, ...about) => {
      const number = ++this.#number;
      this.#process.send({ number, settings: { client: FIRST, ...settings }, what, about });
      return new Promise((resolve, reject) => this.#answers.set(number, { resolve, reject }));
    };
    return { ask };
  }

  /** Ends it without a word. */
  async end() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}

/** Runs a test for each client library. */
export function forEachClient(declare) {
  for (const client of Object.keys(CLIENTS)) declare(client);
}

/** That a promise has not settled by now. */
export async function stillWaits(promise) {
  const waits = Symbol("waits");
  await turn();
  await turn();
  assert.equal(await Promise.race([promise, Promise.resolve(waits)]), waits);
}

/** Waits until Redis is asked again. */
export async function back(cache) {
  await until("redis is there again", () => cache.ping());
}
