/**
 * Late: rows of a store that shows what was written some time later, and takes no conditions.
 *
 * What this process writes, removes or holds for a load it remembers until the store has caught up, and believes that alone: so within
 * the process everything holds at once. What other processes write comes when the store shows it.
 *
 * Invariant: a name that this process has changed is not read from the store while the store may still show what was there before.
 */
import { matches } from "../keys.js";
import { isLease } from "./commands.js";
import type { Near } from "../redis/near.js";
import type { Row, Rows, Table } from "./rows.js";

/** A store of bytes by name. */
export interface LateStore {
  /** Milliseconds within which what was written shows everywhere. */
  readonly settles: number;
  get(name: string): Promise<Uint8Array | undefined>;
  put(name: string, bytes: Uint8Array, until: number): Promise<void>;
  delete(name: string): Promise<void>;
  /** The names that begin so. */
  list(prefix: string): Promise<string[]>;
}

/** How many bytes of what was written are remembered: beyond it, the store is merely not believed. */
const MOST_BYTES = 16 * 2 ** 20;

/** Of so many names it is remembered that they changed; beyond that, of all. */
const MOST_NAMES = 100_000;

/** Memory in front, which is told what this process changes. */
type Told = Pick<Near, "forget" | "forgetMatching">;

export class LateTable implements Table {
  readonly #store: LateStore;
  readonly #memory: () => Told | undefined;
  /** What is held for a load, and what was written of late. */
  readonly #own = new Map<string, Row>();
  #ownBytes = 0;
  /** Until when a name is not read from the store, by this host's monotonic clock; infinite while a change is under way. */
  readonly #changed = new Map<string, number>();
  /** The same, of all that match. */
  #swept: { readonly pattern: string; readonly until: number }[] = [];
  /** The last change of a name that is under way: the next one waits for it. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #rows: Rows = {
    get: (name) => this.#get(name),
    put: (name, row) => this.#put(name, row),
    delete: (name) => this.#delete(name),
    names: (prefix) => this.#names(prefix),
  };

  constructor(store: LateStore, memory: () => Told | undefined) {
    this.#store = store;
    this.#memory = memory;
  }

  async open(): Promise<() => void> {
    return () => undefined;
  }

  step<T>(names: readonly string[], writes: boolean, work: (rows: Rows) => Promise<T>): Promise<T> {
    if (!writes) return work(this.#rows);
    const done = Promise.all(names.map((name) => this.#turns.get(name))).then(() => work(this.#rows));
    const over = (): void => {
      for (const name of names) if (this.#turns.get(name) === turn) this.#turns.delete(name);
    };
    const turn = done.then(over, over);
    for (const name of names) this.#turns.set(name, turn);
    return done;
  }

  swept(pattern: string): void {
    const now = performance.now();
    this.#swept = this.#swept.filter((swept) => swept.until > now && swept.pattern !== pattern);
    this.#swept.push({ pattern, until: now + this.#store.settles });
    this.#memory()?.forgetMatching(pattern);
  }

  async #get(name: string): Promise<Row | undefined> {
    if (!this.#isShown(name)) return this.#ownRow(name);
    const found = await this.#store.get(name);
    // What this process did meanwhile counts, whatever was found.
    if (!this.#isShown(name)) return this.#ownRow(name);
    return found === undefined ? undefined : { value: found, until: Infinity };
  }

  async #put(name: string, row: Row): Promise<void> {
    this.#keep(name, row);
    if (isOurs(name, row)) return;
    const { value, until } = row as Row & { value: Uint8Array };
    this.#change(name, Infinity);
    try {
      await this.#store.put(name, value, until);
    } catch (error) {
      this.#forget(name);
      throw error;
    } finally {
      this.#change(name, performance.now() + this.#store.settles);
    }
  }

  async #delete(name: string): Promise<boolean> {
    const wasThere = this.#ownRow(name) !== undefined || this.#isShown(name);
    this.#forget(name);
    if (isOurs(name)) return wasThere;
    this.#change(name, Infinity);
    try {
      await this.#store.delete(name);
    } finally {
      this.#change(name, performance.now() + this.#store.settles);
    }
    return wasThere;
  }

  async #names(prefix: string): Promise<string[]> {
    const own = [...this.#own.keys()].filter((name) => name.startsWith(prefix));
    return [...new Set([...own, ...(await this.#store.list(prefix))])];
  }

  #ownRow(name: string): Row | undefined {
    const row = this.#own.get(name);
    return row !== undefined && row.until > Date.now() ? row : undefined;
  }

  #isChanging(name: string): boolean {
    return (this.#changed.get(name) ?? -Infinity) > performance.now();
  }

  /** Whether what the store has under a name is to be believed. */
  #isShown(name: string): boolean {
    if (isOurs(name) || this.#isChanging(name)) return false;
    const own = this.#ownRow(name);
    if (own !== undefined && isOurs(name, own)) return false;
    const now = performance.now();
    return !this.#swept.some(({ pattern, until }) => until > now && matches(pattern, name.slice(name.indexOf(":") + 1)));
  }

  #keep(name: string, row: Row): void {
    this.#forget(name);
    this.#own.set(name, row);
    this.#ownBytes += bytesOf(row);
    for (const [oldest, { value }] of this.#own) {
      if (this.#ownBytes <= MOST_BYTES) break;
      if (!isOurs(oldest, { value })) this.#forget(oldest);
    }
  }

  #forget(name: string): void {
    this.#ownBytes -= bytesOf(this.#own.get(name));
    this.#own.delete(name);
  }

  /** Notes until when a name is not to be believed, and forgets those that the store has caught up with. */
  #change(name: string, until: number): void {
    this.#memory()?.forget([name.slice(name.indexOf(":") + 1)]);
    this.#changed.delete(name);
    this.#changed.set(name, until);
    const now = performance.now();
    for (const [oldest, until] of this.#changed) {
      if (until > now && until !== Infinity) break;
      if (until <= now) this.#caughtUp(oldest);
    }
    if (this.#changed.size <= MOST_NAMES) return;
    this.swept("*");
    for (const [name, until] of this.#changed) if (until !== Infinity) this.#caughtUp(name);
  }

  #caughtUp(name: string): void {
    this.#changed.delete(name);
    const row = this.#own.get(name);
    if (row !== undefined && !isOurs(name, row)) this.#forget(name);
  }
}

/** Whether a row is of use to this process alone: a lease, or anything that is no key of the user's. */
function isOurs(name: string, row?: Pick<Row, "value">): boolean {
  if (!/^[^:!]*:/.test(name)) return true;
  return row !== undefined && (isLease(row.value) || !(row.value instanceof Uint8Array));
}

function bytesOf(row: Row | undefined): number {
  return row?.value instanceof Uint8Array ? row.value.length : 0;
}
