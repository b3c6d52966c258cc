/** node-redis, of its majors 5 and 6, as a connection. */
import { type Command, type Connection, type Reply, ReplyError } from "./connection.js";

/** What is used of a client. */
export interface NodeRedisClient {
  readonly isReady: boolean;
  readonly options?: { readonly socket?: object } | undefined;
  duplicate(overrides: object): NodeRedisClient;
  connect(): Promise<unknown>;
  sendCommand(args: readonly (string | Uint8Array)[], options?: object): Promise<unknown>;
  subscribe(channel: string, listener: (message: Uint8Array) => void, isBuffer: true): Promise<void>;
  unsubscribe(channel: string, listener: (message: Uint8Array) => void, isBuffer: true): Promise<void>;
  on(event: string, listener: (error: unknown) => void): unknown;
  destroy(): void;
}

export function isNodeRedis(client: object): client is NodeRedisClient {
  return "sendCommand" in client && "duplicate" in client && "isReady" in client;
}

/** The letter that a string of bytes begins with on the wire: as what it is to be given. */
const BLOB = 0x24;

const SIMPLE = 0x2b;

/** A client of its own, so that nothing waits in a queue to be sent later, and no timer is made for each command. */
function own(client: NodeRedisClient): NodeRedisClient {
  const { Buffer } = globalThis as unknown as { Buffer: unknown };
  const made = client.duplicate({
    disableOfflineQueue: true,
    commandOptions: { timeout: undefined, typeMapping: { [BLOB]: Buffer, [SIMPLE]: Buffer } },
    socket: { ...client.options?.socket, connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: pause },
  });
  // What went wrong is told by the calls; an error that nobody listens to would end the process.
  made.on("error", () => undefined);
  return made;
}

/** Milliseconds until the next attempt: more each time, by chance less. */
function pause(attempts: number): number {
  return Math.min(20 * 2 ** attempts, 500) * (0.5 + Math.random() / 2);
}

const CONNECT_TIMEOUT = 250;

export class NodeRedisConnection implements Connection {
  readonly hasChannels = true;
  readonly #client: NodeRedisClient;
  #listener: Promise<NodeRedisClient> | undefined;
  #generations = 0;
  #connecting: Promise<unknown> | undefined;
  #isClosed = false;

  constructor(client: NodeRedisClient) {
    this.#client = own(client);
    this.#client.on("ready", () => this.#generations++);
  }

  get generation(): number {
    return this.#client.isReady ? this.#generations : 0;
  }

  async connect(): Promise<void> {
    if (this.#isClosed) throw new Error("closed");
    this.#connecting ??= this.#client.connect().catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    // It resolves once; after that the client connects anew by itself.
    await this.#connecting;
    if (!this.#client.isReady) throw new Error("not connected");
  }

  async send(commands: readonly Command[]): Promise<Reply[]> {
    return Promise.all(commands.map((command) => this.#client.sendCommand(command.map(argument)).then(reply, replyError)));
  }

  get(name: string): Promise<Uint8Array | null> {
    return this.#client.sendCommand(["GET", name]) as Promise<Uint8Array | null>;
  }

  async listen(channel: string, onMessage: (message: Uint8Array) => void): Promise<() => void> {
    this.#listener ??= this.#openListener();
    const listener = await this.#listener;
    await listener.subscribe(channel, onMessage, true);
    return () => void listener.unsubscribe(channel, onMessage, true).catch(() => undefined);
  }

  async #openListener(): Promise<NodeRedisClient> {
    const listener = own(this.#client);
    try {
      await listener.connect();
    } catch (error) {
      this.#listener = undefined;
      throw error;
    }
    return listener;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const listener = await this.#listener?.catch(() => undefined);
    for (const client of [this.#client, listener]) {
      try {
        client?.destroy();
      } catch {
        // It was not open.
      }
    }
  }
}

function argument(arg: string | Uint8Array): string | Uint8Array {
  return typeof arg === "string" ? arg : asBuffer(arg);
}

/** The same bytes, as the libraries of Node want them. */
export function asBuffer(bytes: Uint8Array): Uint8Array {
  const { Buffer } = globalThis as unknown as { Buffer: { from(buffer: ArrayBufferLike, at: number, length: number): Uint8Array } };
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What a library answers, as this package tells answers apart. */
export function reply(answer: unknown): Reply {
  if (answer === null || answer === undefined) return null;
  if (typeof answer === "number" || answer instanceof Uint8Array) return answer;
  if (typeof answer === "bigint") return Number(answer);
  if (typeof answer === "boolean") return answer ? 1 : 0;
  if (typeof answer === "string") return new TextEncoder().encode(answer);
  if (Array.isArray(answer)) return answer.map(reply);
  if (answer instanceof Error) return new ReplyError(answer.message);
  return new ReplyError("ERR an answer of an unknown kind");
}

/** The classes of the libraries' errors that stand for an answer of the server. */
const ANSWERS = new Set(["ErrorReply", "SimpleError", "BlobError", "ReplyError", "MultiErrorReply"]);

/** An error of the server as an answer; one of the connection is thrown. */
export function replyError(error: unknown): ReplyError {
  if (error instanceof Error && (ANSWERS.has(error.constructor.name) || ANSWERS.has(error.name))) return new ReplyError(error.message);
  throw error;
}
