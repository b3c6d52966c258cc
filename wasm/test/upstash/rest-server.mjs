/**
 * An HTTP server that speaks Upstash's REST protocol, as far as its documentation tells it, in front of a real Redis.
 *
 * What matters here: bodies are JSON, so arguments are text, and what is no UTF-8 does not survive; answers do, in base64, when the
 * request says so. Reads go to a replica where there is one; scripts, which may write, go to the primary.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { ErrorReply, RESP_TYPES, createClient } from "redis";

const READS = new Set(["GET", "MGET", "SCAN", "PTTL", "HMGET", "EXISTS", "EVAL_RO"]);

export const TOKEN = "s3cret-t0ken";

const LATELY = 1_000;

export class RestServer {
  #server;
  #primary;
  #replica;
  #version = 0;
  /** What was asked lately: the commands of each request. Of a server that runs for long, the last thousand. */
  requests = [];
  /** Asked of each request before it is carried out; where it answers, with a status and a body or by `hang`, nothing is. */
  meddle = () => undefined;

  /** In front of a Redis, and perhaps of another that is its replica. */
  static async start(primary, replica) {
    const server = new RestServer();
    server.#primary = await connected(primary);
    server.#replica = replica === undefined ? server.#primary : await connected(replica);
    server.#server = createServer((request, response) => void server.#handle(request, response)).listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  async end() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
    for (const client of new Set([this.#primary, this.#replica])) client.destroy();
  }

  async #handle(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const say = (status, body) => {
      response.writeHead(status, { "Content-Type": "application/json", "Upstash-Sync-Token": `v${++this.#version}` });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    };
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return say(401, { error: "WRONGPASS invalid or missing auth token" });
    if (request.method !== "POST") return say(405, { error: "ERR method not allowed" });
    let asked;
    try {
      // As text: what is no UTF-8 is replaced, by a letter that says so.
      asked = JSON.parse(new TextDecoder().decode(Buffer.concat(chunks)));
    } catch {
      return say(400, { error: "ERR failed to parse the body" });
    }
    const isPipeline = request.url === "/pipeline";
    if (!isPipeline && request.url !== "/") return say(400, { error: "ERR unknown path" });
    const commands = isPipeline ? asked : [asked];
    this.requests.push(commands.map((command) => String(command[0])));
    if (this.requests.length > LATELY) this.requests.shift();
    const meddled = await this.meddle({ commands, request, headers: request.headers });
    if (meddled === "hang") return;
    if (meddled !== undefined) return say(...meddled);
    const encode = request.headers["upstash-encoding"] === "base64" ? inBase64 : asText;
    let answers;
    try {
      answers = await Promise.all(
        commands.map(async (command) => {
          const args = command.map(String);
          const client = READS.has(args[0].toUpperCase()) ? this.#replica : this.#primary;
          try {
            return { result: encode(await client.sendCommand(args)) };
          } catch (error) {
            if (error instanceof ErrorReply) return { error: error.message };
            throw error;
          }
        }),
      );
    } catch {
      return say(503, { error: "the database cannot be reached" });
    }
    if (isPipeline) say(200, answers);
    else say("error" in answers[0] ? 400 : 200, answers[0]);
  }
}

async function connected({ url }) {
  const client = createClient({ url, disableOfflineQueue: true, commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } });
  client.on("error", () => undefined);
  return client.connect();
}

function inBase64(answer) {
  if (Array.isArray(answer)) return answer.map(inBase64);
  if (typeof answer === "string") return answer === "OK" ? answer : Buffer.from(answer).toString("base64");
  return answer instanceof Uint8Array ? answer.toString("base64") : answer;
}

function asText(answer) {
  if (Array.isArray(answer)) return answer.map(asText);
  return answer instanceof Uint8Array ? answer.toString() : answer;
}
