/**
 * Warm: fills the cache before anybody asks, some keys at a time.
 */
import type { Cache } from "./cache.js";
import { ConfigError } from "./errors.js";
import type { Loader } from "./load.js";
import { checkNames } from "./options.js";
import { STORE_OPTIONS, type StoreOptions } from "./terms.js";

export interface WarmOptions<T> extends StoreOptions {
  /** Loads the value of a key; left out where pairs of keys and values are given. */
  readonly loader?: Loader<T> | undefined;
  /** How many at a time. Default: 8. */
  readonly concurrency?: number | undefined;
  /** Is told how many keys are done. */
  readonly onProgress?: ((done: number) => void) | undefined;
  /** Ends it: what was not begun is left out. */
  readonly signal?: AbortSignal | undefined;
}

/** What became of the keys. */
export interface WarmReport {
  /** Keys that have a new value. */
  readonly loaded: number;
  /** Keys that had one already. */
  readonly skipped: number;
  /** The errors of those without one, by key. */
  readonly errors: ReadonlyMap<string, unknown>;
}

export async function warm<T>(
  cache: Cache,
  keysOrItems: Iterable<string> | Iterable<readonly [string, T]>,
  options: WarmOptions<T>,
): Promise<WarmReport> {
  checkNames(options, ["loader", "concurrency", "onProgress", "signal", ...STORE_OPTIONS]);
  const { loader, concurrency = 8, onProgress, signal, ...storing } = options;
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) throw new ConfigError("`concurrency` is a whole number from 1 on");
  if (typeof keysOrItems === "string") throw new TypeError("`warm` takes a list of keys, or of pairs of keys and values, not one text");
  const work = keysOrItems[Symbol.iterator]() as Iterator<string | readonly [string, T]>;
  const errors = new Map<string, unknown>();
  let [loaded, skipped, done] = [0, 0, 0];
  const one = async (item: string | readonly [string, T]): Promise<void> => {
    const key = typeof item === "string" ? item : item[0];
    try {
      if (typeof item !== "string") {
        await cache.set(key, item[1], storing);
        loaded++;
        return;
      }
      if (loader === undefined) throw new TypeError("keys are warmed by a `loader`; without one give pairs of keys and values");
      let ran = false;
      const counted: Loader<T> = (context) => {
        ran = true;
        return loader(context);
      };
      await cache.getOrSet(key, counted, { ...storing, signal });
      if (ran) loaded++;
      else skipped++;
    } catch (error) {
      errors.set(key, error);
    }
  };
  const worker = async (): Promise<void> => {
    for (;;) {
      if (signal?.aborted === true) return;
      const next = work.next();
      if (next.done === true) return;
      await one(next.value);
      onProgress?.(++done);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { loaded, skipped, errors };
}
