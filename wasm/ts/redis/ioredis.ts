/** ioredis, and what is made after it, as connections. */
import { type Command, type Connection, Fault, type Library, type Listening, type Message, type Reply, within } from "./connection.js";
import { answers, argument, replyOf } from "./node-redis.js";

/** What is used of a client. */
export interface IoredisClient {
  readonly status: string;
  readonly isCluster?: boolean;
  readonly options: { readonly db?: number | undefined; readonly password?: string | null | undefined };
  readonly stream?: { destroy(): unknown };
  duplicate(overrides: object): IoredisClient;
  connect(): Promise<unknown>;
  callBuffer(command: string, ...args: readonly (string | Uint8Array)[]): Promise<unknown>;
  getBuffer(name: string): Promise<Uint8Array | null>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: never[]) => void): unknown;
  disconnect(isReconnecting?: boolean): void;
}

/** A client of one server, not of a cluster. */
export function isIoredis(client: object): client is IoredisClient {
  return ["callBuffer", "getBuffer", "duplicate", "status"].every((name) => name in client) && (client as IoredisClient).isCluster !== true;
}

export class Ioredis implements Library {
  readonly #client: IoredisClient;
  readonly replyOf = replyOf;

  constructor(client: IoredisClient) {
    this.#client = client;
  }

  async connect(atMost: number): Promise<Connection> {
    return new IoredisConnection(await this.#open(atMost));
  }

  readonly listen = async (atMost: number, onMessage: (channel: string, message: Message) => void): Promise<Listening> => {
    const client = await this.#open(atMost);
    const ended = new Promise<void>((resolve) => client.on("end", resolve));
    client.on("messageBuffer", (channel: Uint8Array, message: Message) => onMessage(new TextDecoder().decode(channel), message));
    return {
      ended,
      id: () => client.callBuffer("CLIENT", "ID"),
      subscribe: (channel) => client.subscribe(channel),
      unsubscribe: (channel) => client.unsubscribe(channel),
      ping: () => client.callBuffer("PING"),
      end: () => end(client),
    };
  };

  /** Opens a client of our own, which never connects again, keeps nothing to be sent later, and sends nothing twice. */
  async #open(atMost: number): Promise<IoredisClient> {
    const client = this.#client.duplicate({
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      enableReadyCheck: false,
      disableClientInfo: true,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      retryStrategy: null,
      reconnectOnError: null,
      readOnly: false,
      monitor: false,
      keyPrefix: "",
      stringNumbers: false,
      commandTimeout: undefined,
      socketTimeout: undefined,
      connectTimeout: atMost,
    });
    // What went wrong is told by the calls; an error that nobody listens to would be printed.
    client.on("error", () => undefined);
    try {
      await within(atMost, opened(client), () => new Fault("timedOut"));
    } catch (error) {
      end(client);
      throw error;
    }
    return client;
  }
}

async function opened(client: IoredisClient): Promise<void> {
  let failure: Error | undefined;
  client.on("error", (error: Error) => (failure ??= error));
  try {
    await client.connect();
    // It is ready before it knows whether it was let in, and whether the database is there: it would stay on another.
    const { db, password } = client.options;
    if (db !== undefined && db !== 0) await client.callBuffer("SELECT", String(db));
    else if (password !== undefined && password !== null) await client.callBuffer("TIME");
  } catch (error) {
    // Where it was not let in, that is what matters, though what was asked next may have been answered first.
    await new Promise((resolve) => setTimeout(resolve));
    throw failure ?? error;
  }
}

class IoredisConnection implements Connection {
  readonly #client: IoredisClient;

  constructor(client: IoredisClient) {
    this.#client = client;
  }

  get isOpen(): boolean {
    return this.#client.status === "ready";
  }

  send(commands: readonly Command[], onAnswer: () => void): Promise<Reply[]> {
    return answers(commands, onAnswer, ([command, ...args]) => this.#client.callBuffer(command as string, ...args.map(argument)));
  }

  read(names: readonly string[]): Promise<unknown> {
    return this.#client.callBuffer("MGET", ...names);
  }

  end(): void {
    end(this.#client);
  }
}

function end(client: IoredisClient): void {
  client.disconnect();
  // By itself it would wait for the other side to agree.
  client.stream?.destroy();
}
