/**
 * Library: a table in the place of a client library and its Redis, for the tier that speaks to one.
 *
 * What it is sent it carries out here, in this process. Where the rows are, and who else uses them, is the table's business.
 */
import {
  type Command,
  type Connection,
  type Library,
  type Listening,
  RefusedError,
  type Reply,
  ReplyError,
  type Words,
} from "../redis/connection.js";
import { type Asked, read, run } from "./commands.js";
import { NoRoom, type Rows, type Table } from "./rows.js";

type OnMessage = (channel: string, message: Uint8Array) => void;

export class PlainLibrary implements Library {
  readonly words: Words;
  readonly hasOwnScripts = true;
  readonly listen: Library["listen"];
  readonly #table: Table;
  /** The channels that are listened to here. */
  readonly #channels = new Set<string>();

  constructor(name: string, table: Table) {
    this.words = new TableWords(name);
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
    let isOpen = true;
    /** Those whose answers are under way. */
    const waiting = new Set<(error: Error) => void>();
    const over = (): void => {
      isOpen = false;
      for (const reject of waiting) reject(new Error("the store was closed"));
    };
    const end = await this.#table.open(over);
    const send = (commands: readonly Command[], onAnswer: () => void): Promise<Reply[]> => {
      return new Promise((resolve, reject) => {
        waiting.add(reject);
        void this.#send(commands, onAnswer)
          .then(resolve, reject)
          .finally(() => waiting.delete(reject));
      });
    };
    return {
      get isOpen() {
        return isOpen;
      },
      send,
      read: async (names) => {
        const [reply] = await send([["MGET", ...names]], () => undefined);
        if (reply instanceof ReplyError) throw new RefusedError(reply);
        return reply;
      },
      end: () => {
        end();
        over();
      },
    };
  }

  replyOf(error: unknown): ReplyError | undefined {
    return error instanceof RefusedError ? error.reply : undefined;
  }

  async #send(commands: readonly Command[], onAnswer: () => void): Promise<Reply[]> {
    const asked = commands.map(read);
    try {
      return await this.#run(asked, onAnswer);
    } catch (error) {
      if (error instanceof NoRoom) await this.#remove(asked);
      return asked.map(() => failed(error));
    }
  }

  async #run(asked: readonly Asked[], onAnswer: () => void): Promise<Reply[]> {
    const names = [...new Set(asked.flatMap(({ names }) => names))];
    const writes = asked.some(({ writes }) => writes);
    const said: (readonly [channel: string, message: Uint8Array])[] = [];
    const publish = (channel: string, message: Uint8Array): number => {
      said.push([channel, message]);
      return this.#channels.has(channel) ? 1 : 0;
    };
    const replies = await this.#table.step(names, writes, (rows) => {
      const told = tellingOf(rows, onAnswer);
      const last = new Map<string, Promise<Reply>>();
      // Those that work on one name run in their order. What one fails at, others may have done.
      const replies = asked.map((one) => {
        const before = Promise.all(one.names.map((name) => last.get(name)));
        const reply = before.then(() => run(told, one, publish)).catch(failed);
        for (const name of one.names) last.set(name, reply);
        return reply;
      });
      return Promise.all(replies);
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

/** Rows that tell when anything moves: a command may take many of their answers, and nobody is to take it for dead meanwhile. */
function tellingOf(rows: Rows, onAnswer: () => void): Rows {
  return {
    get: (name) => rows.get(name).finally(onAnswer),
    put: (name, row) => rows.put(name, row).finally(onAnswer),
    delete: (name) => rows.delete(name).finally(onAnswer),
    names: (prefix) => rows.names(prefix).finally(onAnswer),
  };
}

class TableWords implements Words {
  constructor(readonly name: string) {}

  failed(reply: ReplyError | undefined): string {
    return reply === undefined ? `${this.name} could not be asked, or did not answer in time` : `${this.name} failed: ${reply.detail}`;
  }

  refused(reply: ReplyError): string | undefined {
    return reply.code === FAILED || reply.code === "OOM" ? this.failed(reply) : undefined;
  }

  noConnection(reason: string): string {
    return `${this.name} cannot be opened: ${reason}`;
  }
}

/** What the store failed at, as an answer. */
const FAILED = "FAILED";

function failed(error: unknown): ReplyError {
  if (error instanceof NoRoom) return new ReplyError("OOM there is no room left");
  const { name, message } = error instanceof Error ? error : { name: "", message: String(error) };
  return new ReplyError(`${FAILED} ${name}: ${message}`);
}
