/**
 * IndexedDB as the store of a cache: it outlasts the page, and the tabs and workers of one origin share it.
 *
 * Its transactions are all that the cache's protocol needs, so a cache over it promises what one over Redis does, among all who have
 * opened the same database: one load for all, no value served or stored that was invalidated meanwhile, tags, locks, counters, and
 * messages by `BroadcastChannel` (without it, only within one tab). Time is that of the device's clock.
 *
 * What it cannot promise: the browser may remove the database at any time, which is a cache that was cleared; where there is no room
 * for a value, its key is invalidated instead; and where a page may not use IndexedDB at all, as in some private modes, reads miss and
 * loaders run.
 */
import type { Store } from "./cache.js";
import { SHARED } from "./capabilities.js";
import { ConfigError } from "./errors.js";
import { nameOf } from "./keys.js";
import { MOST, checkNumbers } from "./options.js";
import { NoRoom, type Row, type Rows, type Table } from "./plain/rows.js";
import { PlainTier } from "./plain/tier.js";
import { unref } from "./timers.js";

/** How a cache treats IndexedDB. */
export interface IndexedDbOptions {
  /** Milliseconds that an operation may take. Default: 5,000. */
  readonly commandTimeout?: number | undefined;
  /** A larger value is not stored, and what is under its key is invalidated. Default: 16 MiB. */
  readonly maxValueBytes?: number | undefined;
}

/** The version of the database: of what it consists of, not of what is in it. */
const VERSION = 1;
const ROWS = "rows";
const BY_END = "until";

/** How often what is over is removed, and how much of it in one go. */
const SWEEP_EVERY = 60_000;
const SWEPT_AT_ONCE = 500;

/**
 * A store in the database of this name.
 *
 * @throws {@link ConfigError} where the name is none, or the host has no IndexedDB.
 * @example
 * ```ts
 * const cache = createCache({ namespace: "app", store: indexedDb("cache") });
 * ```
 */
export function indexedDb(name: string, options: IndexedDbOptions = {}): Store {
  if (typeof name !== "string" || name === "")
    throw new ConfigError(`a database has a text for a name, not ${name === "" ? "an empty one" : nameOf(name)}`);
  checkNumbers(options, { commandTimeout: MOST, maxValueBytes: MOST });
  const { commandTimeout = 5_000, maxValueBytes } = options;
  if (typeof indexedDB === "undefined") throw new ConfigError("this host has no IndexedDB");
  const CAPABILITIES = { ...SHARED, messages: typeof BroadcastChannel !== "undefined" };
  return {
    open: (terms) =>
      new PlainTier("indexeddb", new IndexedDbTable(name), CAPABILITIES, terms, {
        commandTimeout,
        connectTimeout: commandTimeout,
        maxValueBytes,
      }),
  };
}

interface Stored extends Row {
  readonly name: string;
}

class IndexedDbTable implements Table {
  readonly #database: string;
  readonly #channelName: string;
  readonly listen?: NonNullable<Table["listen"]>;
  #opened: IDBDatabase | undefined;
  #teller: BroadcastChannel | undefined;

  constructor(database: string) {
    this.#database = database;
    this.#channelName = `donjon!db!${database}`;
    if (typeof BroadcastChannel !== "undefined") this.listen = (heard) => this.#listen(heard);
  }

  async open(onClose: () => void): Promise<() => void> {
    const request = indexedDB.open(this.#database, VERSION);
    request.onupgradeneeded = () => {
      const rows = request.result.createObjectStore(ROWS, { keyPath: "name" });
      rows.createIndex(BY_END, BY_END);
    };
    const opened = await answered(request);
    let sweeper: ReturnType<typeof setTimeout> | undefined;
    const closed = (): void => {
      clearTimeout(sweeper);
      if (this.#opened === opened) this.#opened = undefined;
      onClose();
    };
    const close = (): void => {
      closed();
      opened.close();
    };
    // It was removed; or somebody wants to remove it.
    opened.onclose = closed;
    opened.onversionchange = close;
    this.#opened = opened;
    const sweepIn = (wait: number): void => {
      sweeper = setTimeout(() => {
        void this.#sweep().then(
          () => this.#opened === opened && sweepIn(SWEEP_EVERY),
          () => this.#opened === opened && sweepIn(SWEEP_EVERY),
        );
      }, wait);
      unref(sweeper);
    };
    sweepIn(0);
    return close;
  }

  tell(channel: string, message: Uint8Array): void {
    if (this.#teller === undefined && this.listen !== undefined) unref((this.#teller = new BroadcastChannel(this.#channelName)));
    this.#teller?.postMessage({ channel, message });
  }

  #listen(heard: (channel: string, message: Uint8Array) => void): () => void {
    const listener = new BroadcastChannel(this.#channelName);
    listener.onmessage = ({ data }: MessageEvent<unknown>) => {
      // Whatever runs in this origin may send.
      const { channel, message } = Object(data) as { readonly channel?: unknown; readonly message?: unknown };
      if (typeof channel === "string" && message instanceof Uint8Array) heard(channel, message);
    };
    unref(listener);
    return () => listener.close();
  }

  async step<T>(_: readonly string[], writes: boolean, work: (rows: Rows) => Promise<T>): Promise<T> {
    if (this.#opened === undefined) throw new Error("the database is closed");
    const transaction = this.#opened.transaction(ROWS, writes ? "readwrite" : "readonly");
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(reasonOf(transaction.error));
    });
    // Where the work fails, that says more.
    done.catch(() => undefined);
    let result: T;
    try {
      result = await work(new StoredRows(transaction.objectStore(ROWS)));
    } catch (error) {
      try {
        transaction.abort();
      } catch {
        // It has come to its end already.
      }
      throw reasonOf(error);
    }
    await done;
    return result;
  }

  /** Removes what is over, so much at a time that others have their turn. */
  async #sweep(): Promise<void> {
    let count: number;
    do {
      count = await this.step([], true, async (rows) => (rows as StoredRows).removeOver());
    } while (count === SWEPT_AT_ONCE);
  }

  close(): void {
    this.#teller?.close();
  }
}

class StoredRows implements Rows {
  readonly #rows: IDBObjectStore;

  constructor(rows: IDBObjectStore) {
    this.#rows = rows;
  }

  async get(name: string): Promise<Row | undefined> {
    const row = (await answered(this.#rows.get(name))) as Stored | undefined;
    return row !== undefined && row.until > Date.now() ? row : undefined;
  }

  async put(name: string, { value, until }: Row): Promise<void> {
    await answered(this.#rows.put({ name, value, until } satisfies Stored));
  }

  async delete(name: string): Promise<boolean> {
    const wasThere = (await this.get(name)) !== undefined;
    await answered(this.#rows.delete(name));
    return wasThere;
  }

  async names(prefix: string): Promise<string[]> {
    const start = prefix.replace(/\uffff+$/, "");
    const end = start.slice(0, -1) + String.fromCharCode(start.charCodeAt(start.length - 1) + 1);
    return (await answered(this.#rows.getAllKeys(IDBKeyRange.bound(start, end, false, true)))) as string[];
  }

  /** Removes what is over, some of it; gives how much. */
  async removeOver(): Promise<number> {
    const over = await answered(this.#rows.index(BY_END).getAllKeys(IDBKeyRange.upperBound(Date.now()), SWEPT_AT_ONCE));
    await Promise.all(over.map((name) => answered(this.#rows.delete(name))));
    return over.length;
  }
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(reasonOf(request.error));
  });
}

/** What went wrong, known apart where there is no room. */
function reasonOf(error: unknown): Error {
  if (error instanceof Error && error.name === "QuotaExceededError") return new NoRoom(error.message, { cause: error });
  return error instanceof Error ? error : new Error("the transaction was broken off", { cause: error });
}
