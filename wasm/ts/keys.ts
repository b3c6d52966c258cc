/**
 * Keys: how a key, or a pattern of keys, is made of parts so that no part can be taken for another.
 */
import { InvalidKeyError, InvalidPatternError } from "./errors.js";
import { Texts } from "./texts.js";

/** What may stand in a key: a text, a whole number, a truth value, or null for nothing. */
export type KeyPart = string | number | bigint | boolean | null;

/** Stands for any part in a pattern. */
export const ANY: unique symbol = Symbol("any");

/** What is the same for every cache. */
const shared = new Texts(() => undefined);

/** What stands for itself in a key; the core sees to the rest, and to keys that may be too long. */
const PLAIN = /^[A-Za-z0-9_.@-]{0,128}$/;
const SURELY_SHORT = 1_024;

function textOf(part: unknown): string {
  switch (typeof part) {
    case "string":
      if (!part.isWellFormed()) throw new InvalidKeyError("half a surrogate pair is no text: two keys could become one");
      return part;
    case "number":
      if (!Number.isSafeInteger(part)) throw new InvalidKeyError(`${part} has no one form as text: put a text there`);
      return part.toString();
    case "bigint":
    case "boolean":
      return part.toString();
    default:
      if (part === null) return "null";
      throw new InvalidKeyError(`a part of a key is text, a whole number, a truth value or null, not ${typeof part}`);
  }
}

/**
 * The key of these parts, joined by `:`. What a part has of `:` and `%` is escaped, and one over 128 bytes becomes a hash, so
 * `key("a:b", "c")` and `key("a", "b:c")` differ. The same in every language.
 *
 * @throws {@link InvalidKeyError} where a part has no text, or all of it is too long for a key.
 * @example
 * ```ts
 * key("user", 5, "a:b"); // "user:5:a%3Ab"
 * ```
 */
export function key(...parts: readonly [KeyPart, ...KeyPart[]]): string {
  const texts = parts.map(textOf);
  if (texts.every((text) => PLAIN.test(text))) {
    const joined = texts.join(":");
    if (joined !== "" && joined.length <= SURELY_SHORT) return joined;
  }
  return shared.ask((core) => {
    core.begin().texts(texts).call("build_key");
    return core.readRest();
  });
}

/**
 * The pattern of the keys that {@link key} makes of such parts, {@link ANY} standing for any.
 *
 * @example
 * ```ts
 * await cache.invalidatePattern(pattern("user", ANY, "profile"));
 * ```
 */
export function pattern(...parts: readonly [KeyPart | typeof ANY, ...(KeyPart | typeof ANY)[]]): string {
  const texts = parts.map((part) => (part === ANY ? undefined : textOf(part)));
  return shared.ask((core) => {
    core.begin().count(texts.length);
    for (const text of texts) {
      if (text === undefined) core.byte(0);
      else core.byte(1).text(text);
    }
    core.call("build_key_pattern");
    return core.readRest();
  });
}

/** `text` as a pattern that matches it alone. */
export function escapePattern(text: string): string {
  checkPattern(text);
  return shared.ask((core) => {
    core.begin().text(text).call("escape_glob");
    return core.readRest();
  });
}

/** Whether a pattern matches a key, as Redis has it. */
export function matches(glob: string, text: string): boolean {
  checkPattern(glob);
  checkKey(text);
  const bytes = new TextEncoder().encode(text);
  return shared.ask((core) => core.begin().text(glob).sized(bytes).call("glob_matches") !== 0);
}

/** Refuses what cannot be a key; how long it is the core checks. */
export function checkKey(given: unknown): asserts given is string {
  if (typeof given !== "string") throw new InvalidKeyError(`a key is a text, not ${nameOf(given)}: use the text of it`);
  if (!given.isWellFormed()) throw new InvalidKeyError("half a surrogate pair is no text: two keys could become one");
}

/** Refuses what cannot be a pattern. */
export function checkPattern(given: unknown): asserts given is string {
  if (typeof given !== "string") throw new InvalidPatternError(`a pattern is a text, not ${nameOf(given)}`);
  if (!given.isWellFormed()) throw new InvalidPatternError("half a surrogate pair is no text");
}

/** What a value is, for a message: never the value itself. */
export function nameOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : value instanceof Uint8Array ? "bytes" : typeof value;
}
