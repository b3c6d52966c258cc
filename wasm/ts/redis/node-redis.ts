/** node-redis, of its majors 5 and 6, as connections. */
import {
  type Command,
  type Connection,
  Fault,
  type Library,
  type Listening,
  type Message,
  type Reply,
  ReplyError,
  within,
} from "./connection.js";

/** What is used of a client. */
export interface NodeRedisClient {
  readonly isReady: boolean;
  readonly options?: { readonly socket?: object } | undefined;
  duplicate(overrides: object): NodeRedisClient;
  connect(): Promise<unknown>;
  sendCommand(args: readonly (string | Uint8Array)[], options?: object): Promise<unknown>;
  subscribe(channel: string, listener: (message: never) => void, isBuffer: true): Promise<void>;
  unsubscribe(channel: string, listener: (message: never) => void, isBuffer: true): Promise<void>;
  on(event: string, listener: (about: unknown) => void): unknown;
  destroy(): void;
}

/** A client of one server: neither of a cluster, nor a pool, nor one that asks sentinels, whose commands are sent in other ways. */
export function isNodeRedis(client: object): client is NodeRedisClient {
  return ["sendCommand", "duplicate", "isReady", "subscribe", "destroy", "select"].every((name) => name in client);
}

/** The letters that strings begin with on the wire: as what they are to be given. */
const BLOB = 0x24;
const SIMPLE = 0x2b;

export class NodeRedis implements Library {
  readonly #client: NodeRedisClient;
  readonly replyOf = replyOf;

  constructor(client: NodeRedisClient) {
    this.#client = client;
  }

  async connect(atMost: number): Promise<Connection> {
    return new NodeRedisConnection(await this.#open(atMost));
  }

  readonly told = async (atMost: number, onChanged: (names: readonly Uint8Array[] | null) => void): Promise<Connection> => {
    const client = await this.#open(atMost, {
      // Each name as its bytes came, before the answers behind it are looked at.
      onChanged: (name) => onChanged(name === null ? null : [name as Uint8Array]),
    });
    return new NodeRedisConnection(client);
  };

  readonly listen = async (atMost: number, onMessage: (channel: string, message: Message) => void): Promise<Listening> => {
    let over!: () => void;
    const ended = new Promise<void>((resolve) => (over = resolve));
    const client = await this.#open(atMost, { onEnd: over });
    const listeners = new Map<string, (message: Message) => void>();
    return {
      ended,
      id: () => client.sendCommand(["CLIENT", "ID"]),
      subscribe: (channel) => {
        const listener = (message: Message): void => onMessage(channel, message);
        listeners.set(channel, listener);
        return client.subscribe(channel, listener, true);
      },
      unsubscribe: (channel) => client.unsubscribe(channel, listeners.get(channel)!, true),
      ping: () => client.sendCommand(["PING"]),
      end: () => end(client),
    };
  };

  /** Opens a client of our own, which never connects again, keeps nothing to be sent later, and makes no timer for each command. */
  async #open(
    atMost: number,
    { onEnd = () => undefined, onChanged }: { readonly onEnd?: () => void; readonly onChanged?: (name: unknown) => void } = {},
  ): Promise<NodeRedisClient> {
    const { Buffer } = globalThis as unknown as { Buffer: unknown };
    const client = this.#client.duplicate({
      // Pushes come by the newer protocol alone.
      RESP: onChanged === undefined ? 2 : 3,
      disableOfflineQueue: true,
      disableClientInfo: true,
      maintNotifications: "disabled",
      clientSideCache: undefined,
      emitInvalidate: onChanged !== undefined,
      readonly: false,
      keyPrefix: undefined,
      pingInterval: undefined,
      commandsQueueMaxLength: undefined,
      commandOptions: { timeout: undefined, typeMapping: { [BLOB]: Buffer, [SIMPLE]: Buffer } },
      socket: { ...this.#client.options?.socket, connectTimeout: atMost, socketTimeout: undefined, reconnectStrategy: false },
    });
    // What went wrong is told by the calls; an error that nobody listens to would end the process.
    client.on("error", onEnd);
    client.on("end", onEnd);
    if (onChanged !== undefined) client.on("invalidate", onChanged);
    try {
      await within(atMost, client.connect(), () => new Fault("timedOut"));
    } catch (error) {
      end(client);
      throw error;
    }
    return client;
  }
}

class NodeRedisConnection implements Connection {
  readonly #client: NodeRedisClient;

  constructor(client: NodeRedisClient) {
    this.#client = client;
  }

  get isOpen(): boolean {
    return this.#client.isReady;
  }

  send(commands: readonly Command[], onAnswer: () => void): Promise<Reply[]> {
    return answers(commands, onAnswer, (command) => this.#client.sendCommand(command.map(argument)));
  }

  read(names: readonly string[]): Promise<unknown> {
    return this.#client.sendCommand(["MGET", ...names]);
  }

  end(): void {
    end(this.#client);
  }
}

function end(client: NodeRedisClient): void {
  try {
    client.destroy();
  } catch {
    // It was not open.
  }
}

/** The answers to commands, in order. */
export function answers(
  commands: readonly Command[],
  onAnswer: () => void,
  send: (command: Command) => Promise<unknown>,
): Promise<Reply[]> {
  return Promise.all(
    commands.map(async (command) => {
      try {
        return reply(await send(command));
      } catch (error) {
        const answer = replyOf(error);
        if (answer === undefined) throw error;
        return answer;
      } finally {
        onAnswer();
      }
    }),
  );
}

export function argument(arg: string | Uint8Array): string | Uint8Array {
  if (typeof arg === "string") return arg;
  // The same bytes, as the libraries of Node want them.
  const { Buffer } = globalThis as unknown as { Buffer: { from(buffer: ArrayBufferLike, at: number, length: number): Uint8Array } };
  return Buffer.from(arg.buffer, arg.byteOffset, arg.byteLength);
}

/** What a library answers, as this package tells answers apart. */
function reply(answer: unknown): Reply {
  if (answer === null || answer === undefined) return null;
  if (typeof answer === "number" || answer instanceof Uint8Array) return answer;
  if (typeof answer === "bigint") return Number(answer);
  if (typeof answer === "string") return new TextEncoder().encode(answer);
  if (Array.isArray(answer)) return answer.map(reply);
  return replyOf(answer) ?? new ReplyError("ERR an answer of an unknown kind");
}

/** What every answer of a server that is an error begins with, and no error of a socket does. */
const CODE = /^[A-Z][A-Z0-9_]+(?: |$)/;

/** The answer of the server that an error of a library stands for. Not told by the names of classes, which bundlers change. */
export function replyOf(error: unknown): ReplyError | undefined {
  if (!(error instanceof Error) || "code" in error || !CODE.test(error.message)) return undefined;
  return new ReplyError(error.message);
}
