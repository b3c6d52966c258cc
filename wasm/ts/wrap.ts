/**
 * Wrap: a function whose outcomes are cached, by keys made of its arguments.
 */
import type { Cache, LoadOptions, ReadOptions, Removed } from "./cache.js";
import { InvalidKeyError } from "./errors.js";
import { type KeyPart, key as buildKey, nameOf } from "./keys.js";
import { checkNames } from "./options.js";
import { STORE_OPTIONS, type StoreOptions } from "./terms.js";
import type { Eventually } from "./tier.js";

/** How outcomes are kept. */
export interface WrapOptions<A extends readonly unknown[]> extends Omit<StoreOptions, "tags">, ReadOptions {
  /** The key of a call: its parts, which are escaped, or all of it. */
  readonly key: (...args: A) => readonly [KeyPart, ...KeyPart[]] | string;
  readonly tags?: readonly string[] | ((...args: A) => readonly string[]) | undefined;
}

/** A function that caches what another gives. */
export interface Wrapped<A extends readonly unknown[], T> {
  (...args: A): Promise<T>;
  /** The key of a call. */
  key(...args: A): string;
  /** Invalidates what a call gave. */
  invalidate(...args: A): Promise<Removed>;
  /** Calls the function anew, or joins a call that began after this one. */
  refresh(...args: A): Promise<T>;
  /** What is kept of a call, without calling. */
  get(...args: A): Promise<T | undefined>;
}

export function wrap<A extends readonly unknown[], T>(
  cache: Cache,
  fn: (...args: A) => Eventually<T>,
  options: WrapOptions<A>,
): Wrapped<A, T> {
  if (typeof fn !== "function") throw new TypeError(`\`wrap\` takes a function, not ${nameOf(fn)}`);
  checkNames(options, ["key", "mode", ...STORE_OPTIONS]);
  const { key, tags, ttl, grace, mode } = options ?? {};
  if (typeof key !== "function") throw new TypeError("`key` is a function from the arguments to the parts of a key");
  const keyOf = (...args: A): string => {
    const made = key(...args);
    if (typeof made === "string") return made;
    if (!Array.isArray(made)) throw new InvalidKeyError(`\`key\` gives a list of parts, or a text, not ${nameOf(made)}`);
    return buildKey(...(made as readonly [KeyPart, ...KeyPart[]]));
  };
  const optionsOf = (args: A, forceRefresh: boolean): LoadOptions => ({
    ttl,
    grace,
    tags: typeof tags === "function" ? tags(...args) : tags,
    mode,
    forceRefresh,
  });
  const call = (args: A, forceRefresh: boolean): Promise<T> =>
    cache.getOrSet(keyOf(...args), () => fn(...args), optionsOf(args, forceRefresh));
  const wrapped = async (...args: A): Promise<T> => call(args, false);
  return Object.assign(wrapped, {
    key: keyOf,
    invalidate: async (...args: A): Promise<Removed> => cache.deleteMany([keyOf(...args)]),
    refresh: async (...args: A): Promise<T> => call(args, true),
    get: async (...args: A): Promise<T | undefined> => cache.get<T>(keyOf(...args), { mode }),
  });
}
