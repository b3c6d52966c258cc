// A way to a server on which things go wrong when a test says so.
//
// Owns its connections and what happens to their bytes. Must not know what the bytes say.

import { once } from "node:events";
import { createConnection, createServer } from "node:net";

export class RedisProxy {
  #listener;
  #target;
  #open = new Set();
  #rules = { requests: rule(), replies: rule() };
  /** How many connections were made so far. */
  connections = 0;

  static async to(server) {
    const proxy = new RedisProxy(server.port);
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    proxy.port = proxy.#listener.address().port;
    return proxy;
  }

  constructor(target) {
    this.#target = target;
    this.#listener = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection there is. New ones are welcome. */
  cut() {
    for (const end of this.#open) end();
  }

  /** Lets `size` more bytes pass in a direction and cuts the connection on which the next one comes. */
  cutAfter(direction, size) {
    this.#rules[direction].cutAfter = size;
  }

  /** Delivers nothing more in a direction, while connections stay open and can be made: a hole in the network. */
  hold(direction) {
    this.#rules[direction].isHeld = true;
  }

  /** Delivers what is held, and goes on as usual. */
  release(direction) {
    const rule = this.#rules[direction];
    rule.isHeld = false;
    for (const wake of rule.waiting.splice(0)) wake();
  }

  /** Delivers what comes in a direction so many milliseconds later, in order. Zero ends it. */
  delay(direction, ms) {
    this.#rules[direction].delay = ms;
  }

  /** Resolves when bytes have come in a direction that now is held. */
  arrived(direction) {
    return new Promise((resolve) => this.#rules[direction].arrivals.push(resolve));
  }

  async close() {
    this.#listener.close();
    this.release("requests");
    this.release("replies");
    this.cut();
  }

  #accept(client) {
    this.connections++;
    const server = createConnection({ port: this.#target, host: "127.0.0.1", noDelay: true });
    const end = () => {
      client.destroy();
      server.destroy();
      this.#open.delete(end);
    };
    this.#open.add(end);
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    void this.#forward("requests", client, server, end);
    void this.#forward("replies", server, client, end);
  }

  async #forward(direction, source, target, end) {
    const rule = this.#rules[direction];
    try {
      for await (const data of source) {
        for (const arrived of rule.arrivals.splice(0)) arrived();
        if (rule.delay > 0) await new Promise((resolve) => setTimeout(resolve, rule.delay));
        while (rule.isHeld) await new Promise((resolve) => rule.waiting.push(resolve));
        if (rule.cutAfter === undefined) {
          target.write(data);
          continue;
        }
        const passes = Math.min(data.length, rule.cutAfter);
        rule.cutAfter -= passes;
        target.write(data.subarray(0, passes));
        if (passes === data.length) continue;
        rule.cutAfter = undefined;
        target.end(() => end());
        return;
      }
    } catch {
      // Cut meanwhile.
    }
    end();
  }
}

function rule() {
  return { isHeld: false, waiting: [], arrivals: [], delay: 0, cutAfter: undefined };
}
