/**
 * Scope: which loads the running code is in the middle of. A loader that asks for the very key it loads would wait for itself; it
 * loads directly instead.
 *
 * Known where the host carries something along with what is awaited (`AsyncLocalStorage`). Elsewhere such a loader waits as long
 * as a load may take, and then loads directly.
 */
interface Storage {
  run<T>(store: readonly Owned[], what: () => T): T;
  getStore(): readonly Owned[] | undefined;
}

/** A load is known by what counts the tickets as well: two caches count theirs independently. */
interface Owned {
  readonly counter: object;
  readonly ticket: number;
}

function findStorage(): Storage | undefined {
  const { AsyncLocalStorage: Global, process } = globalThis as {
    AsyncLocalStorage?: new () => Storage;
    process?: { getBuiltinModule?(name: string): Record<string, unknown> | undefined };
  };
  // Asked for first: the edge runtime that has it as a global throws where its `process` is asked for a module.
  if (Global !== undefined) return new Global();
  const Found = process?.getBuiltinModule?.("node:async_hooks")?.["AsyncLocalStorage"] as (new () => Storage) | undefined;
  return Found === undefined ? undefined : new Found();
}

const storage = findStorage();
const NONE: readonly Owned[] = [];

/** Runs what loads under a ticket. */
export function within<T>(counter: object, ticket: number, what: () => T): T {
  if (storage === undefined) return what();
  return storage.run([...(storage.getStore() ?? NONE), { counter, ticket }], what);
}

/** The tickets of the loads that the running code is in the middle of. */
export function owned(counter: object): readonly number[] {
  const all = storage?.getStore();
  return all === undefined ? [] : all.filter((load) => load.counter === counter).map((load) => load.ticket);
}
