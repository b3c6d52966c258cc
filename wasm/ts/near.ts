/**
 * Memory in front of a store that tells nobody of changes: `donjon/upstash` and `donjon/kv`. Off unless a store is given it.
 *
 * Nothing bounds how late it is but the time that is stated here: what others invalidate is served for as long. What is invalidated
 * through the store that has it is gone at once.
 */
import type { TierTerms } from "./cache.js";
import { Core, MEMORY } from "./core.js";
import { ConfigError, InvalidTtlError } from "./errors.js";
import { nameOf } from "./keys.js";
import { MOST, checkNames, checkNumbers } from "./options.js";
import { Near } from "./redis/near.js";
import { Untold } from "./redis/untold.js";
import type { InFront } from "./redis/via.js";
import { FOREVER } from "./terms.js";

/** How late memory in front of a store may be, and how much of it there is. */
export interface MemoryOptions {
  /**
   * How late an answer may be: for so long at most, from when it was asked for, memory has a value, whatever others do to it. Milliseconds,
   * or a text such as `"2s"`; at most a minute.
   */
  readonly ttl: number | string;
  /** Bound of keys, values and bookkeeping in memory. Default: 16 MiB, as a worker has 128 for all that it does. */
  readonly maxBytes?: number | undefined;
  /** Bound of the number of values in memory. Default: as many as the bytes allow. */
  readonly maxEntries?: number | undefined;
}

/** The longest that memory has a value, in front of any store: what may be older belongs in a cache in memory. */
const LONGEST = 60_000;

/** Memory for a store. Made by {@link memory}. */
export class NearMemory {
  /** As it is shown: what is packed has short names. */
  static readonly name = "NearMemory";
  readonly #options: MemoryOptions;
  #ttl: number | undefined;

  /** @internal */
  constructor(options: MemoryOptions) {
    this.#options = options;
  }

  /** The memory of a cache, which is that of all in its namespace among those that share `memories`. @internal */
  of(memories: Map<string, Near>, { namespace, log }: TierTerms): InFront {
    const { maxBytes = 16 * 2 ** 20, maxEntries } = this.#options;
    const ttl = (this.#ttl ??= lengthOf(this.#options.ttl));
    const terms = { maxBytes, maxEntries, ttl, maxStale: 0 };
    const near = memories.get(namespace) ?? new Near(terms, namespace, log);
    if (JSON.stringify(near.terms) !== JSON.stringify(terms)) {
      throw new ConfigError(
        "there is memory in front of this store already, with another `ttl` or other bounds: make one with `memory`, and use it for all",
      );
    }
    memories.set(namespace, near);
    return new Untold(near);
  }
}

/**
 * Memory to put in front of `upstash` or `kv`: `upstash({ url, token, near: memory({ ttl: "2s" }) })`.
 *
 * A `local` read, which is the default, may be answered from there, as old as `ttl` says; `{ mode: "strong" }` passes it by. What is
 * changed through the same store is not served from the moment that the call has returned.
 *
 * @throws {@link ConfigError} where an option is none, and {@link InvalidTtlError} where the time is none or over a minute; of a text, when
 * the first cache is made.
 */
export function memory(options: MemoryOptions): NearMemory {
  checkNames(options, ["ttl", "maxBytes", "maxEntries"]);
  if (options?.ttl === undefined) {
    throw new ConfigError(
      'memory in front of a store that tells nobody of changes needs a `ttl`, by which it may be late: memory({ ttl: "2s" })',
    );
  }
  const { ttl, maxBytes, maxEntries } = options;
  checkNumbers({ maxBytes, maxEntries }, { maxBytes: 2 ** 32, maxEntries: MOST });
  if (typeof ttl !== "string") lengthOf(ttl);
  return new NearMemory({ ttl, maxBytes, maxEntries });
}

/** Milliseconds. What a text means is asked of a core, which may not be there before the first cache is. */
function lengthOf(ttl: unknown): number {
  if (typeof ttl !== "number" && typeof ttl !== "string") {
    const given = ttl === FOREVER ? "FOREVER" : nameOf(ttl);
    throw new InvalidTtlError(`how late memory may be is milliseconds or a text such as "2s", not ${given}`);
  }
  const ms = typeof ttl === "number" ? ttl : meant(ttl);
  if (!(ms > 0 && ms <= LONGEST)) {
    throw new InvalidTtlError(
      `memory in front of a store has a value for more than no time and for a minute at most, not for ${JSON.stringify(ttl)}: ` +
        "what may be older belongs in a cache in memory",
    );
  }
  return ms;
}

function meant(text: string): number {
  if (!text.isWellFormed()) throw new InvalidTtlError("half a surrogate pair is no text");
  const core = new Core(MEMORY);
  core.begin().text(text).call("resolve_ttl");
  return core.register(0);
}
