/**
 * Rows: what a store that knows no commands is asked for, so that the commands of the shared tier can be carried out over it.
 *
 * Must not know what a row means, or what depends on what is there.
 */

/** Of a tag table, whose fields are texts. */
export type Fields = ReadonlyMap<string, string>;

/** What is under a name. */
export interface Row {
  readonly value: Uint8Array | Fields;
  /** Until when, in milliseconds since 1970; infinite for ever. */
  readonly until: number;
}

/** The rows as one step sees them. A row whose time is over is none. */
export interface Rows {
  get(name: string): Promise<Row | undefined>;
  put(name: string, row: Row): Promise<void>;
  /** Whether there may have been one. */
  delete(name: string): Promise<boolean>;
  /** The names that begin so. */
  names(prefix: string): Promise<readonly string[]>;
}

/** Rows, and how they are come by. */
export interface Table {
  /** Opens it, until what it gives is called; `onClose` is told should it close by itself. */
  open(onClose: () => void): Promise<() => void>;
  /** Runs what reads and, where it `writes`, changes these names; no other step writes them meanwhile, as far as the store can promise. */
  step<T>(names: readonly string[], writes: boolean, work: (rows: Rows) => Promise<T>): Promise<T>;
  /** Is told that what matches this pattern was removed, as far as it was listed. */
  swept?(pattern: string): void;
  /** Tells all who listen, in this process and in others. Not there where nobody can be told. */
  tell?(channel: string, message: Uint8Array): void;
  /** Listens to what is told, until what it gives is called. */
  listen?(heard: (channel: string, message: Uint8Array) => void): () => void;
  /** Frees what is not needed any more. */
  close?(): void;
}

/** The store has no room: nothing of the step was done. */
export class NoRoom extends Error {}
