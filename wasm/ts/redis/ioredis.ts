/** ioredis, and what is made after it, as a connection. */
import type { Command, Connection, Reply } from "./connection.js";
import { asBuffer, reply, replyError } from "./node-redis.js";

/** What is used of a client. */
export interface IoredisClient {
  readonly status: string;
  duplicate(overrides: object): IoredisClient;
  connect(): Promise<unknown>;
  callBuffer(command: string, ...args: readonly (string | Uint8Array)[]): Promise<unknown>;
  getBuffer(name: string): Promise<Uint8Array | null>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  removeListener(event: string, listener: (...args: never[]) => void): unknown;
  disconnect(isReconnecting?: boolean): void;
}

export function isIoredis(client: object): client is IoredisClient {
  return "callBuffer" in client && "duplicate" in client && "status" in client;
}

/** A client of its own, so that nothing waits in a queue to be sent later, or is sent twice. */
function own(client: IoredisClient): IoredisClient {
  const made = client.duplicate({
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: undefined,
    connectTimeout: CONNECT_TIMEOUT,
    retryStrategy: (attempts: number) => Math.min(20 * 2 ** attempts, 500) * (0.5 + Math.random() / 2),
  });
  // What went wrong is told by the calls; an error that nobody listens to would be printed.
  made.on("error", () => undefined);
  return made;
}

const CONNECT_TIMEOUT = 250;

export class IoredisConnection implements Connection {
  readonly hasChannels = true;
  readonly #client: IoredisClient;
  #listener: Promise<IoredisClient> | undefined;
  readonly #channels = new Map<string, Set<(message: Uint8Array) => void>>();
  #generations = 0;

  constructor(client: IoredisClient) {
    this.#client = own(client);
    this.#client.on("ready", () => this.#generations++);
  }

  get generation(): number {
    return this.#client.status === "ready" ? this.#generations : 0;
  }

  async connect(): Promise<void> {
    await opened(this.#client);
  }

  async send(commands: readonly Command[]): Promise<Reply[]> {
    const asked = commands.map(([command, ...args]) => {
      return this.#client.callBuffer(command as string, ...args.map((arg) => (typeof arg === "string" ? arg : asBuffer(arg))));
    });
    return Promise.all(asked.map((answer) => answer.then(reply, replyError)));
  }

  get(name: string): Promise<Uint8Array | null> {
    return this.#client.getBuffer(name);
  }

  async listen(channel: string, onMessage: (message: Uint8Array) => void): Promise<() => void> {
    this.#listener ??= this.#openListener();
    const listener = await this.#listener;
    const listeners = this.#channels.get(channel);
    if (listeners === undefined) this.#channels.set(channel, new Set([onMessage]));
    else listeners.add(onMessage);
    const leave = (): void => {
      const listeners = this.#channels.get(channel);
      listeners?.delete(onMessage);
      if (listeners?.size !== 0) return;
      this.#channels.delete(channel);
      void listener.unsubscribe(channel).catch(() => undefined);
    };
    try {
      await listener.subscribe(channel);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  async #openListener(): Promise<IoredisClient> {
    const listener = own(this.#client);
    listener.on("messageBuffer", (channel: Uint8Array, message: Uint8Array) => {
      for (const onMessage of this.#channels.get(new TextDecoder().decode(channel)) ?? []) onMessage(message);
    });
    try {
      await opened(listener);
    } catch (error) {
      this.#listener = undefined;
      listener.disconnect();
      throw error;
    }
    return listener;
  }

  async close(): Promise<void> {
    this.#client.disconnect();
    (await this.#listener?.catch(() => undefined))?.disconnect();
  }
}

/** Opens a client, or waits for the one that it opens by itself. */
async function opened(client: IoredisClient): Promise<void> {
  if (client.status === "ready") return;
  if (client.status === "wait" || client.status === "end") return void (await client.connect());
  await new Promise<void>((resolve, reject) => {
    const settle = (settled: () => void) => (): void => {
      client.removeListener("ready", ready);
      client.removeListener("error", failed);
      client.removeListener("close", failed);
      settled();
    };
    const ready = settle(resolve);
    const failed = settle(() => reject(new Error("not connected")));
    client.once("ready", ready);
    client.once("error", failed);
    client.once("close", failed);
  });
}
