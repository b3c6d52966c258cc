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

/** What kept commands from being answered, as the core knows it. */
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

/** One client of a library, for this cache alone. It connects anew by itself, and never sends anything twice. */
export interface Connection {
  /** Which connection is open, counted from 1; 0 while there is none. */
  readonly generation: number;
  /** Whether others can be listened to. */
  readonly hasChannels: boolean;
  /** Opens it, or waits until it is open. */
  connect(): Promise<void>;
  /** Sends commands in one go; their answers come in order. Rejects where the connection breaks. */
  send(commands: readonly Command[]): Promise<Reply[]>;
  /** As {@link Connection.send}, for the one command of every read. */
  get(name: string): Promise<Uint8Array | null>;
  /** Listens to a channel, until what it gives is called; its messages may come before it resolves. */
  listen(channel: string, onMessage: (message: Uint8Array) => void): Promise<() => void>;
  close(): Promise<void>;
}
