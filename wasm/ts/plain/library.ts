/**
 * Library: a table in the place of a client library and its Redis, for the tier that speaks to one.
 *
 * What it is sent it carries out here, in this process. Where the rows are, and who else uses them, is the table's business.
 */
import { type Command, type Connection, type Library, type Listening, RefusedError, type Reply, ReplyError } from "../redis/connection.js";
import { type Asked, read, run } from "./commands.js";
import { NoRoom, type Table } from "./rows.js";

type OnMessage = (channel: string, message: Uint8Array) => void;

export class PlainLibrary implements Library {
  readonly hasOwnScripts = true;
  readonly listen: Library["listen"];
  readonly #table: Table;
  /** The channels that are listened to here. */
  readonly #channels = new Set<string>();

  constructor(table: Table) {
    this.#table = table;
    if (table.listen !== undefined) this.listen = async (_, onMessage) => this.#listen(onMessage);
  }

  clock(): number {
    return Date.now();
  }

  swept(pattern: string): void {
    this.#table.swept?.(pattern);
  }

  async connect(): Promise<Connection> {
    const { send } = this;
    let isOpen = true;
    const end = await this.#table.open(() => (isOpen = false));
    return {
      get isOpen() {
        return isOpen;
      },
      send: send.bind(this),
      get: async (name) => {
        const [reply] = await this.send([["GET", name]]);
        if (reply instanceof ReplyError) throw new RefusedError(reply);
        return reply instanceof Uint8Array ? reply : null;
      },
      end: () => {
        isOpen = false;
        end();
      },
    };
  }

  replyOf(error: unknown): ReplyError | undefined {
    return error instanceof RefusedError ? error.reply : undefined;
  }

  async send(commands: readonly Command[]): Promise<Reply[]> {
    const asked = commands.map(read);
    try {
      return await this.#run(asked);
    } catch (error) {
      if (error instanceof NoRoom) await this.#remove(asked);
      return asked.map(() => failed(error));
    }
  }

  async #run(asked: readonly Asked[]): Promise<Reply[]> {
    const names = [...new Set(asked.flatMap(({ names }) => names))];
    const writes = asked.some(({ writes }) => writes);
    const said: (readonly [channel: string, message: Uint8Array])[] = [];
    const publish = (channel: string, message: Uint8Array): number => {
      said.push([channel, message]);
      return this.#channels.has(channel) ? 1 : 0;
    };
    const replies = await this.#table.step(names, writes, async (rows) => {
      const replies: Reply[] = [];
      // What one fails at, others may have done.
      for (const one of asked) replies.push(await run(rows, one, publish).catch(failed));
      return replies;
    });
    // Said once what it is about is there to be seen.
    for (const [channel, message] of said) this.#table.tell?.(channel, message);
    return replies;
  }

  /** What does not fit is not there, and what was there is older. */
  async #remove(asked: readonly Asked[]): Promise<void> {
    const names = asked.filter(({ writes }) => writes).flatMap(({ names }) => names);
    await this.#table.step(names, true, async (rows) => {
      for (const name of names) await rows.delete(name);
    });
  }

  #listen(onMessage: OnMessage): Listening {
    let over!: () => void;
    const ended = new Promise<void>((resolve) => (over = resolve));
    const channels = this.#channels;
    const stop = this.#table.listen!((channel, message) => {
      if (channels.has(channel)) onMessage(channel, message);
    });
    return {
      ended,
      subscribe: async (channel) => channels.add(channel),
      unsubscribe: async (channel) => channels.delete(channel),
      ping: async () => undefined,
      end: () => {
        channels.clear();
        stop();
        over();
      },
    };
  }
}

function failed(error: unknown): ReplyError {
  const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
  return error instanceof NoRoom ? new ReplyError("OOM there is no room left") : new ReplyError(`ERR ${name}: ${message}`);
}
