/**
 * Terms: how long values live and what they are tagged with, read from what callers give and checked before anything runs.
 */
import type { Core } from "./core.js";
import { InvalidTagError, InvalidTtlError } from "./errors.js";
import { nameOf } from "./keys.js";
import { checkNames } from "./options.js";
import type { Terms } from "./tier.js";

/** Fresh until evicted or invalidated. */
export const FOREVER: unique symbol = Symbol("forever");

/** A length of time: milliseconds, a text such as `"5m"` or `"1h30m"`, a class of them by its name, or {@link FOREVER}. */
export type Ttl = number | string | typeof FOREVER;

/** How a value is stored. */
export interface StoreOptions {
  /** How long it stays fresh. Default: the cache's `defaultTtl`. */
  readonly ttl?: Ttl | undefined;
  /** How long it may be served after that, while another is loaded or the load fails. Default: not at all. */
  readonly grace?: Ttl | undefined;
  /** Names it can be invalidated by besides its key; up to 64. */
  readonly tags?: readonly string[] | undefined;
}

/** What they are called. */
export const STORE_OPTIONS: readonly string[] = ["ttl", "grace", "tags"];

/** Reads terms for one cache. */
export class TermsReader {
  readonly #ask: <T>(call: (core: Core) => T) => T;
  readonly #texts = new Map<string, number>();
  readonly #lengths = new Set<number>();
  readonly #usual: Terms;

  constructor(ask: <T>(call: (core: Core) => T) => T, defaultTtl: Ttl | undefined) {
    this.#ask = ask;
    this.#usual = { ttl: defaultTtl === undefined ? this.#text("default", "ttl") : this.ttl(defaultTtl), grace: 0, tags: [] };
  }

  /** What the options of a call come to, which may be named so. */
  read(options: StoreOptions | undefined, names = STORE_OPTIONS): Terms {
    if (options === undefined) return this.#usual;
    if (typeof options !== "object" || options === null) {
      throw new TypeError(`how to store is an object such as { ttl: "5m" }, not ${nameOf(options)}`);
    }
    checkNames(options, names);
    const { ttl, grace, tags } = options;
    if (ttl === undefined && grace === undefined && tags === undefined) return this.#usual;
    return {
      ttl: ttl === undefined ? this.#usual.ttl : this.ttl(ttl),
      grace: grace === undefined ? 0 : this.grace(grace),
      tags: tags === undefined ? [] : this.tags(tags),
    };
  }

  /** Milliseconds, infinite for ever. */
  ttl(given: Ttl): number {
    const ms = this.#ms(given, "ttl");
    if (!this.#lengths.has(ms)) {
      this.#ask((core) => core.begin().call("check_terms", ms, 0));
      if (this.#lengths.size < MOST_KNOWN) this.#lengths.add(ms);
    }
    return ms;
  }

  /** Milliseconds; unlike a time to live it may be zero. */
  grace(given: Ttl): number {
    const ms = this.#ms(given, "grace");
    this.#ask((core) => core.begin().call("check_terms", 1, ms));
    return ms;
  }

  /** Each tag once, in a list that the caller does not have. */
  tags(given: readonly string[]): readonly string[] {
    if (!Array.isArray(given)) throw new InvalidTagError(`tags are a list of texts, not ${nameOf(given)}`);
    for (const tag of given) {
      if (typeof tag !== "string") throw new InvalidTagError(`a tag is a text, not ${nameOf(tag)}`);
      if (!tag.isWellFormed()) throw new InvalidTagError("half a surrogate pair is no text");
    }
    if (given.length > 0) this.#ask((core) => core.begin().texts(given).call("check_tag_list"));
    return [...new Set(given)];
  }

  #ms(given: Ttl, what: "ttl" | "grace"): number {
    if (given === FOREVER) return Infinity;
    if (typeof given === "string") return this.#text(given, what);
    if (typeof given !== "number") {
      throw new InvalidTtlError(`a ${what} is milliseconds, a text such as "5m", or FOREVER, not ${nameOf(given)}`);
    }
    // The core takes an infinite one for FOREVER, which is said otherwise here.
    if (given === Infinity) throw new InvalidTtlError(`a ${what} is at most ten years, or FOREVER; got Infinity ms`);
    return given;
  }

  #text(text: string, what: "ttl" | "grace"): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (!text.isWellFormed()) throw new InvalidTtlError("half a surrogate pair is no text");
    const ms = this.#ask((core) => {
      core.begin().text(text).call(`resolve_${what}`);
      return core.register(0);
    });
    if (this.#texts.size < MOST_KNOWN) this.#texts.set(text, ms);
    return ms;
  }
}

/** So many different ones are remembered: more are none that a program has in its source. */
const MOST_KNOWN = 256;
