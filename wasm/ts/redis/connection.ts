/**
 * Connection: what the engine needs of a client library, and how what it answers is told apart.
 */

/** One argument of a command. */
export type Arg = string | Uint8Array;
export type Command = readonly Arg[];

/** An error that the server answered with: it did nothing. */
export class ReplyError {
  readonly code: string;
  readonly detail: string;

  constructor(message: string) {
    const space = message.indexOf(" ");
    this.code = space < 0 ? message : message.slice(0, space);
    this.detail = space < 0 ? "" : message.slice(space + 1);
  }
}

/** What a command answered. */
export type Reply = null | number | Uint8Array | ReplyError | readonly Reply[];

/** What kept commands from being answered, as the core knows it. What is `unreachable` or `open` was not sent. */
export type FaultKind = "unreachable" | "timedOut" | "lost" | "open" | "protocol";

/** Commands were not answered. */
export class Fault extends Error {
  constructor(readonly kind: FaultKind) {
    super(TEXTS[kind]);
  }
}

const TEXTS: Readonly<Record<FaultKind, string>> = {
  unreachable: "no connection to redis; check that it runs and that the URL names its host and port",
  timedOut: "redis did not answer in time; if it is merely far away or busy, allow it more time",
  lost: "the connection to redis broke before it answered; the next call makes a new one",
  open: "redis failed too often just now, so it is left alone for a moment; see what the calls before said",
  protocol: "what came from redis is no reply to what was asked; check that the URL leads to redis and nothing else",
};

/** What was asked is of no use, as the server answered with an error. */
export class RefusedError extends Error {
  constructor(readonly reply: ReplyError) {
    super(`redis answered ${reply.code}`);
  }
}

/** One connection, for this cache alone. It is opened once: when it is over, it stays so. Nothing is ever sent twice on it. */
export interface Connection {
  /** Whether it can be asked. */
  readonly isOpen: boolean;
  /**
   * Sends commands in one go; their answers come in order, each told of. Rejects where the connection ends before the last; with a
   * `timedOut` fault where it gave them up by itself.
   */
  send(commands: readonly Command[], onAnswer: () => void): Promise<Reply[]>;
  /**
   * As {@link Connection.send}, of what is under these names at one moment: the one command of every read. It also rejects with what
   * {@link Library.replyOf} knows.
   */
  read(names: readonly string[]): Promise<unknown>;
  /** Ends it now: what was not answered rejects. */
  end(): void;
}

/** What is sent to a channel; on that of changes names, or nothing, in the place of bytes. */
export type Message = Uint8Array | readonly Uint8Array[] | null;

/** One connection that listens to channels. */
export interface Listening {
  /** Resolves when it is over. */
  readonly ended: Promise<void>;
  /** What Redis calls it. To be asked before it listens to anything. */
  id?(): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  /** Asks for a sign of life. */
  ping(): Promise<unknown>;
  end(): void;
}

/** How a store is spoken of that is not Redis, and answers with errors of its own. */
export interface Words {
  readonly name: string;
  /** What a caller is told: it answered with an error, or not at all. */
  failed(reply: ReplyError | undefined): string;
  /** What is to be known of an error that it answered with; `undefined` for nothing. */
  refused(reply: ReplyError): string | undefined;
  noConnection(reason: string): string;
}

/** A client library, told where the server is; or what stands in the place of both. */
export interface Library {
  /** Where it is not Redis. */
  readonly words?: Words;
  /**
   * Whether scripts are said by their numbers, as `RUN`, in the place of their texts. Such a store keeps no list of what is being swept, as
   * it has no command that reads that together with a key.
   */
  readonly hasOwnScripts?: boolean;
  /** Whether what is sent may overtake what was sent before, as each is a request of its own. */
  readonly mayOvertake?: boolean;
  /** The clock, where it is this host's own: milliseconds since 1970. */
  clock?(): number;
  /** Is told that what matches this pattern was removed: for a store that may not have listed all that it has. */
  swept?(pattern: string): void;
  /** Opens a connection, logged in and on its database, within so many milliseconds. */
  connect(within: number): Promise<Connection>;
  /** Opens one that listens; `undefined` where there are no channels. */
  readonly listen: ((within: number, onMessage: (channel: string, message: Message) => void) => Promise<Listening>) | undefined;
  /**
   * Opens a connection that can itself be told of changes of what is read on it: by their names, or `null` for everything, at once and in
   * the order in which they and the answers come. `undefined` where the library hands out no such thing.
   */
  readonly told?: (within: number, onChanged: (names: readonly Uint8Array[] | null) => void) => Promise<Connection>;
  /** What each script has to begin with, as the library does not pass its arguments on as they are. Default: nothing. */
  readonly preamble?: string;
  /** The answer of the server that an error stands for; `undefined` where there was none. */
  replyOf(error: unknown): ReplyError | undefined;
}

/** What `work` gives, unless it takes longer: then what `late` throws. */
export async function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(late()), ms)));
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
