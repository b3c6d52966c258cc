/**
 * Via: under what something is read or stored that memory in front may have, and who sees to it that what it has is right.
 *
 * Where Redis tells a connection of changes, that is the tracker; where nobody tells, `untold`. What is here is all that the engine
 * knows of either.
 */
import type { Library, ReplyError } from "./connection.js";
import type { Line } from "./line.js";
import type { Link, Patience } from "./link.js";
import type { Near } from "./near.js";
import type { Outline } from "./outline.js";
import type { Sweeps } from "./sweeps.js";

/** Under what something is read: memory may have the answer, as long as it was answered on this very line; without one, on any. */
export class Via {
  constructor(
    readonly line: Line | undefined,
    readonly guard: number,
    /** When it was asked for, by the clock of the memory, where that bounds how long memory has the answer. */
    readonly asked = 0,
  ) {}

  /** Whether all was answered on the line. */
  isWhole = true;
}

/** Lets into memory what may be there. */
export interface Keeper {
  /** Under what to read what memory may have; `undefined` where it may have nothing now. */
  via(): Via | undefined;
  /** Sees to it that there will be such a way. */
  start(): void;
  /** Lets memory have what was answered that way, with these bytes. */
  admit(via: Via | undefined, key: string, value: unknown, answer: Uint8Array): void;
  /** Lets memory have what was taken that way. */
  admitTaken(via: Via | undefined, key: string, value: unknown, outline: Outline | undefined): void;
  /** What was asked for that way is not there, or may not be served. */
  missed(via: Via | undefined, key: string): void;
  /** The usual line is no more. */
  usualEnded(line: Line): void;
  close(): void;
}

/** What a keeper asks of its engine. */
export interface Front {
  readonly link: Link;
  /** What a key is called in Redis. */
  nameOf(key: string): string;
  /** What is being swept. */
  readonly sweeps: Pick<Sweeps, "ask" | "split" | "heed">;
  /** Whether something is owed to Redis, which is said before anything is read. */
  readonly isOwing: boolean;
  /** What follows from an error that the server answered with. */
  refused(reply: ReplyError): "nothing" | "down" | "readOnly";
  tell(text: string): void;
}

/** Memory in front, as the tier uses it. */
export type Memory = Pick<
  Near,
  "hit" | "forget" | "forgetMatching" | "forgetTags" | "forgetTargets" | "explain" | "state" | "addTo" | "resetStats" | "switch"
>;

/** Memory in front, and how its keeper is made. */
export interface InFront {
  readonly memory: Memory;
  keeper(front: Front, library: Library, patience: Patience): Keeper;
}
