/**
 * Value: what may be kept, as a copy of the cache's own, as JSON text, and what it weighs.
 *
 * A value is JSON or bytes, and reads back the same from every backend: a `Date` as the text of it, an instance of a class as its
 * fields. What has no such form is refused rather than changed: `NaN`, `undefined` in a list, a `Map`, a function, half a surrogate
 * pair, a circle. Whole numbers beyond 2^53 are `bigint`, both ways; a `bigint` within is a number.
 */
import { UnsupportedValueError } from "./errors.js";

/** A value as the cache keeps it: made by {@link isolate}, and never handed out but as a copy. */
export type Kept = unknown;

/** What reading a value that was not written by this cache may come to. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

/** How deep a value may be nested: as deep as the other languages read. */
const DEEPEST = 127;

const tagOf = Object.prototype.toString;

/** A copy of `value` for the cache, its weight beside it. */
export class Isolated {
  weight = 0;
  /** Whether the text of it needs more than `JSON.stringify`: for a `bigint`, or zero with a sign. */
  isExact = true;
  readonly kept: Kept;

  constructor(value: unknown) {
    if (value instanceof Uint8Array) {
      this.weight = 96 + value.length;
      // Plain bytes: a kind of them, such as Node's, may have a `slice` that copies nothing.
      this.kept = new Uint8Array(value);
    } else {
      this.kept = this.#copy(value, 0);
    }
  }

  #copy(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case "string":
        this.weight += weighText(value);
        if (!value.isWellFormed()) {
          throw new UnsupportedValueError("half a surrogate pair has no form in UTF-8: keep bytes instead");
        }
        return value;
      case "number":
        this.weight += 8;
        if (!Number.isFinite(value)) {
          throw new UnsupportedValueError(`${value} has no JSON form: keep null, or the text of it`);
        }
        if (value === 0 && Object.is(value, -0)) this.isExact = false;
        return value;
      case "boolean":
        this.weight += 8;
        return value;
      case "bigint":
        // As it comes back from every backend: a number, where one can hold it.
        if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return this.#copy(Number(value), depth);
        this.weight += 24;
        this.isExact = false;
        return value;
      case "object":
        return value === null ? this.#null() : this.#object(value, depth);
      default:
        throw new UnsupportedValueError(
          `${typeof value} has no JSON form${typeof value === "undefined" ? ": keep null where there is nothing" : ""}`,
        );
    }
  }

  #null(): null {
    this.weight += 8;
    return null;
  }

  #object(value: object, depth: number): unknown {
    if (depth >= DEEPEST) {
      throw new UnsupportedValueError(`a value is nested at most ${DEEPEST} deep, and in no circle`);
    }
    if (Array.isArray(value)) {
      this.weight += 32 + 8 * value.length;
      const copy = new Array<unknown>(value.length);
      for (let at = 0; at < value.length; at++) copy[at] = this.#copy(value[at], depth + 1);
      return copy;
    }
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === "function") {
      const form: unknown = toJSON.call(value, "");
      if (form === value) throw new UnsupportedValueError("`toJSON` gave the object itself");
      if (form === null && value instanceof Date) throw new UnsupportedValueError("a date that is none has no JSON form: keep null");
      return this.#copy(form, depth + 1);
    }
    const tag = tagOf.call(value);
    if (tag !== "[object Object]") {
      if (value instanceof Number || value instanceof String || value instanceof Boolean) {
        return this.#copy(value.valueOf(), depth);
      }
      throw new UnsupportedValueError(`${tag.slice(8, -1)} has no JSON form: keep a plain object or a list of what is in it`);
    }
    const copy: Record<string, unknown> = {};
    this.weight += 32;
    for (const name of Object.keys(value)) {
      const field = (value as Record<string, unknown>)[name];
      // As `JSON.stringify` does: a field that is not there and one that is `undefined` read the same.
      if (field === undefined) continue;
      this.weight += 8;
      const kept = this.#copy(field, depth + 1);
      if (!name.isWellFormed()) {
        throw new UnsupportedValueError("half a surrogate pair in the name of a field has no form in UTF-8");
      }
      put(copy, name, kept);
    }
    return copy;
  }
}

/** `__proto__` is a name like any other here. */
function put(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[name] = value;
  }
}

/** What a text takes on the heap: its letters, two bytes each where one of the first is not of Latin-1. */
export function weighText(text: string): number {
  const end = Math.min(text.length, 64);
  let wide = 0;
  for (let at = 0; at < end; at++) wide |= text.charCodeAt(at);
  return 16 + (wide > 0xff ? text.length * 2 : text.length);
}

/** About what a value that is kept by reference weighs. A circle ends where a nesting too deep does. */
export function weigh(value: unknown, depth = 0): number {
  if (typeof value === "string") return weighText(value);
  if (typeof value !== "object" || value === null || depth > DEEPEST) return 8;
  if (ArrayBuffer.isView(value)) return 96 + value.byteLength;
  let weight = 32;
  if (Array.isArray(value)) {
    weight += 8 * value.length;
    for (const item of value) if (typeof item !== "number") weight += weigh(item, depth + 1);
    return weight;
  }
  for (const name in value) weight += 8 + weigh((value as Record<string, unknown>)[name], depth + 1);
  return weight;
}

/** A copy of what is kept, for a reader. */
export function copy(kept: Kept): unknown {
  if (typeof kept !== "object" || kept === null) return kept;
  if (Array.isArray(kept)) {
    const list = new Array<unknown>(kept.length);
    for (let at = 0; at < kept.length; at++) {
      const item: unknown = kept[at];
      list[at] = typeof item === "object" && item !== null ? copy(item) : item;
    }
    return list;
  }
  if (kept instanceof Uint8Array) return kept.slice();
  const object: Record<string, unknown> = {};
  for (const name in kept) {
    const field = (kept as Record<string, unknown>)[name];
    const own = typeof field === "object" && field !== null ? copy(field) : field;
    if (name === "__proto__") put(object, name, own);
    else object[name] = own;
  }
  return object;
}

/** Freezes what is kept, to be handed out as it is. */
export function freeze(kept: Kept): Kept {
  if (typeof kept === "object" && kept !== null && !(kept instanceof Uint8Array)) {
    for (const field of Object.values(kept)) freeze(field);
    Object.freeze(kept);
  }
  return kept;
}

/** The JSON text of what is kept. */
export function stringify({ kept, isExact }: Isolated): string {
  return isExact ? JSON.stringify(kept) : exactly(kept);
}

function exactly(kept: Kept): string {
  if (typeof kept === "bigint") return kept.toString();
  if (typeof kept === "number") return Object.is(kept, -0) ? "-0.0" : JSON.stringify(kept);
  if (typeof kept !== "object" || kept === null) return JSON.stringify(kept);
  if (Array.isArray(kept)) return `[${kept.map(exactly).join(",")}]`;
  const fields = Object.entries(kept).map(([name, field]) => `${JSON.stringify(name)}:${exactly(field)}`);
  return `{${fields.join(",")}}`;
}

/**
 * The value that a JSON text says. Whole numbers that a number cannot hold come as `bigint`.
 *
 * @throws {@link DecodeError} where it is no JSON, or nested deeper than any that this cache writes.
 */
export function parse(text: string): unknown {
  try {
    const value: unknown = mayHaveLongNumber(text) ? new Exact(text).read() : JSON.parse(text);
    if (text.length > 2 * DEEPEST && MANY_OPENED.test(text)) checkDepth(value, 0);
    return value;
  } catch (error) {
    throw error instanceof DecodeError ? error : new DecodeError("no JSON", { cause: error });
  }
}

/** Whether there are sixteen digits in a row that are no fraction: a number that has to be looked at, or a part of a text. */
function mayHaveLongNumber(text: string): boolean {
  // So many have one at every sixteenth place: most texts need no closer look.
  for (let at = 15; at < text.length; at += 16) {
    if (!isDigit(text, at)) continue;
    let [from, end] = [at, at + 1];
    while (from > at - 16 && isDigit(text, from - 1)) from--;
    // A row that was looked at sixteen places before is a fraction.
    if (from === at - 16 || text[from - 1] === ".") continue;
    while (end < from + 16 && isDigit(text, end)) end++;
    if (end === from + 16) return true;
  }
  return false;
}

function isDigit(text: string, at: number): boolean {
  const letter = text.charCodeAt(at);
  return letter >= 0x30 && letter <= 0x39;
}

/** Where so many lists and objects open, they may be within each other. */
const MANY_OPENED = /^(?:[^[{]*[[{]){128}/;

function checkDepth(value: unknown, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth >= DEEPEST) throw new DecodeError(`nested more than ${DEEPEST} deep`);
  for (const name in value) checkDepth((value as Record<string, unknown>)[name], depth + 1);
}

/** Reads JSON whose numbers may be long; `JSON.parse` reads all that is neither list nor object. */
class Exact {
  #at = 0;
  constructor(readonly text: string) {}

  read(): unknown {
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.text.length) throw new DecodeError("more follows the value");
    return value;
  }

  #value(depth: number): unknown {
    if (depth > DEEPEST) throw new DecodeError(`nested more than ${DEEPEST} deep`);
    this.#space();
    const first = this.text[this.#at];
    if (first === "[") return this.#list(depth);
    if (first === "{") return this.#object(depth);
    if (first === '"') return this.#text();
    SCALAR.lastIndex = this.#at;
    const scalar = SCALAR.exec(this.text)?.[0] ?? "";
    this.#at += scalar.length;
    const value: unknown = JSON.parse(scalar);
    return typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(scalar) ? BigInt(scalar) : value;
  }

  #list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.#at++;
    if (this.#ends("]")) return list;
    do list.push(this.#value(depth + 1));
    while (this.#goesOn("]"));
    return list;
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#at++;
    if (this.#ends("}")) return object;
    do {
      this.#space();
      const name = this.#text();
      this.#space();
      if (this.text[this.#at++] !== ":") throw new DecodeError("no JSON");
      put(object, name, this.#value(depth + 1));
    } while (this.#goesOn("}"));
    return object;
  }

  #text(): string {
    TEXT.lastIndex = this.#at;
    const text = TEXT.exec(this.text)?.[0];
    if (text === undefined) throw new DecodeError("no JSON");
    this.#at += text.length;
    return JSON.parse(text) as string;
  }

  #ends(end: string): boolean {
    this.#space();
    if (this.text[this.#at] !== end) return false;
    this.#at++;
    return true;
  }

  #goesOn(end: string): boolean {
    if (this.#ends(end)) return false;
    if (this.text[this.#at++] !== ",") throw new DecodeError("no JSON");
    return true;
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    this.#at += SPACE.exec(this.text)?.[0].length ?? 0;
  }
}

const SCALAR = /[^\s,\]}]+/y;
const TEXT = /"(?:[^"\\]|\\.)*"/sy;
const SPACE = /[ \t\n\r]*/y;
