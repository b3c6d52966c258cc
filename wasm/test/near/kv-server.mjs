/** A KV namespace as workerd asks for one: over HTTP, in front of one that shows what was written when it is told to. */
import { once } from "node:events";
import { createServer } from "node:http";

import { FakeKv } from "../fake-kv.mjs";

export class KvServer {
  namespace = new FakeKv();
  #server = createServer((request, response) => void this.#handle(request, response));

  static async start() {
    const server = new KvServer();
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get port() {
    return this.#server.address().port;
  }

  async end() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #handle(request, response) {
    const { method, url } = request;
    const { pathname, searchParams } = new URL(url, "http://kv");
    const name = decodeURIComponent(pathname.slice(1));
    const say = (status, body) => response.writeHead(status).end(body);
    if (method === "PUT") {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const ttl = searchParams.get("expiration_ttl");
      await this.namespace.put(name, new Uint8Array(Buffer.concat(chunks)), ttl === null ? {} : { expirationTtl: Number(ttl) });
      return say(200);
    }
    if (method === "DELETE") {
      await this.namespace.delete(name);
      return say(200);
    }
    if (name === "") {
      const cursor = searchParams.get("cursor") ?? "";
      return say(200, JSON.stringify(await this.namespace.list({ prefix: searchParams.get("prefix") ?? "", cursor })));
    }
    const found = await this.namespace.get(name, "arrayBuffer");
    return found === null ? say(404) : say(200, Buffer.from(found));
  }
}
