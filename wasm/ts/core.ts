/**
 * Core: one instance of a WebAssembly module, and how texts and lists cross to it.
 *
 * Owns the module's memory as seen from here. Must not know what a call means. A cache has instances of its own; what they held is
 * freed with them. Where a module traps, its instance is of no more use: {@link Trapped} says so, and whoever holds it starts anew.
 */
import { REFUSALS } from "./errors.js";

/** The calls of a module, by name. */
export type Calls = Record<string, (...numbers: number[]) => number>;

/** The instance has come to an end in the midst of a call, and with it all that it held. */
export class Trapped extends Error {
  override name = "Trapped";
}

/** Registers that the module writes on its own account. */
const WOKEN = 6;
const LEFT = 7;

/** Up to so many bytes a loop moves sooner than a view of them is made. */
const SHORT = 128;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A `WebAssembly.Module`, in words that are understood where no types of a browser are. */
type CompiledModule = object;

/** A module, compiled when it is first needed. */
export class Source {
  readonly #ifMissing: string;
  #compiled: CompiledModule | undefined;
  #compile: (() => CompiledModule) | undefined;

  constructor(ifMissing: string) {
    this.#ifMissing = ifMissing;
  }

  /** Says where it comes from; who says so first counts. The entry of each host does. */
  comesFrom(compile: () => CompiledModule): void {
    this.#compile ??= compile;
  }

  get module(): CompiledModule {
    if (this.#compile === undefined) throw new Error(this.#ifMissing);
    return (this.#compiled ??= this.#compile());
  }
}

/** What every cache needs: the memory, and what texts mean. */
export const MEMORY = new Source("the core is not there yet: call `init` or `initSync` of `donjon/slim` first");

/** What a cache over a store needs beside it; each entry with a store brings it along. */
export const REMOTE = new Source("the store's module is not there: take the store from its entry, such as `donjon/redis`");

/** One instance of a module. */
export class Core {
  /** The calls, for those that take and give numbers alone. */
  readonly calls: Calls;
  readonly #memory: WebAssembly.Memory;
  readonly #registersAt: number;
  #registers: Float64Array;
  #bytes: Uint8Array;
  #view: DataView;
  #input: Uint8Array = new Uint8Array(256);
  #inputView = new DataView(this.#input.buffer);
  #written = 0;
  #outputAt = 0;

  constructor(source: Source) {
    const { exports } = new WebAssembly.Instance(source.module as WebAssembly.Module, {});
    this.calls = exports as unknown as Calls;
    this.#memory = exports["memory"] as WebAssembly.Memory;
    this.#registersAt = this.calls["registers"]!();
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
    this.#registers = new Float64Array(this.#memory.buffer, this.#registersAt, 8);
  }

  // -- input: written here and copied over in one go, since the module's memory moves when it grows

  /** Starts to write what the next call reads. */
  begin(): this {
    this.#written = 0;
    return this;
  }

  /** Writes a text, which must be well formed: half a surrogate pair would become another text. */
  text(text: string): this {
    this.#reserve(4 + text.length * 3);
    const at = this.#written + 4;
    let written = text.length <= SHORT ? this.#letters(text, at) : 0;
    if (written < text.length) ({ written } = encoder.encodeInto(text, this.#input.subarray(at)));
    this.#inputView.setUint32(this.#written, written, true);
    this.#written = at + written;
    return this;
  }

  /** Writes the letters of ASCII that a text begins with; gives how many they are. */
  #letters(text: string, at: number): number {
    let written = 0;
    for (; written < text.length; written++) {
      const letter = text.charCodeAt(written);
      if (letter > 0x7f) break;
      this.#input[at + written] = letter;
    }
    return written;
  }

  texts(texts: readonly string[]): this {
    this.count(texts.length);
    for (const text of texts) this.text(text);
    return this;
  }

  count(count: number): this {
    this.#reserve(4);
    this.#inputView.setUint32(this.#written, count, true);
    this.#written += 4;
    return this;
  }

  number(number: number): this {
    this.#reserve(8);
    this.#inputView.setFloat64(this.#written, number, true);
    this.#written += 8;
    return this;
  }

  byte(byte: number): this {
    this.#reserve(1);
    this.#input[this.#written++] = byte;
    return this;
  }

  /** Writes bytes without their length. */
  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#input.set(bytes, this.#written);
    this.#written += bytes.length;
    return this;
  }

  /** Writes bytes after their length. */
  sized(bytes: Uint8Array): this {
    return this.count(bytes.length).bytes(bytes);
  }

  #reserve(more: number): void {
    const needed = this.#written + more;
    if (needed <= this.#input.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#input.length * 2));
    grown.set(this.#input.subarray(0, this.#written));
    this.#input = grown;
    this.#inputView = new DataView(grown.buffer);
  }

  // -- calls

  /** Hands over what was written and makes a call. What it gives is not negative; a refusal is thrown. */
  call(name: string, ...numbers: number[]): number {
    const given = this.run(() => {
      const at = this.calls["room"]!(this.#written);
      this.#look();
      if (this.#written > SHORT) this.#bytes.set(this.#input.subarray(0, this.#written), at);
      else for (let byte = 0; byte < this.#written; byte++) this.#bytes[at + byte] = this.#input[byte]!;
      return this.calls[name]!(...numbers);
    });
    this.#look();
    this.#outputAt = -1;
    if (given < 0) throw this.#refusal(-given);
    return given;
  }

  /** Runs what enters the module. */
  run<T>(what: () => T): T {
    try {
      return what();
    } catch (error) {
      throw this.trap(error);
    }
  }

  /** What an error out of the module is to be thrown as. */
  trap(error: unknown): unknown {
    // Out of stack within a call leaves it as unfinished as a trap does.
    if (!(error instanceof WebAssembly.RuntimeError) && !(error instanceof RangeError)) return error;
    return new Trapped(error.message, { cause: error });
  }

  #refusal(kind: number): Error {
    const Refusal = REFUSALS[kind] ?? REFUSALS[0]!;
    return new Refusal(decoder.decode(this.rest()));
  }

  /** Looks at the memory anew where it has grown. */
  #look(): void {
    if (this.#bytes.length !== 0) return;
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
    this.#registers = new Float64Array(this.#memory.buffer, this.#registersAt, 8);
  }

  /** So many bytes of the module's memory; good until the next call. */
  bytesAt(at: number, count: number): Uint8Array {
    this.#look();
    return this.#bytes.subarray(at, at + count);
  }

  /** What a call has left in a register. */
  register(number: number): number {
    this.#look();
    return this.#registers[number]!;
  }

  /** Whether values left, or waits were woken, that nobody has asked for. */
  get isUnsettled(): boolean {
    this.#look();
    return this.#registers[WOKEN] !== 0 || this.#registers[LEFT] !== 0;
  }

  get hasLeft(): boolean {
    return this.register(LEFT) !== 0;
  }

  get hasWoken(): boolean {
    return this.register(WOKEN) !== 0;
  }

  // -- output: of the last call, read from the front; what is to be kept is copied

  #output(bytes: number): number {
    if (this.#outputAt < 0) this.#outputAt = this.calls["output"]!();
    const at = this.#outputAt;
    this.#outputAt += bytes;
    return at;
  }

  /** All that is left of the output, in the module's memory: good until the next call. */
  rest(): Uint8Array {
    const at = this.#output(0);
    const end = this.calls["output"]!() + this.calls["output_bytes"]!();
    this.#outputAt = end;
    return this.#bytes.subarray(at, end);
  }

  readText(): string {
    return decoder.decode(this.readSized());
  }

  readRest(): string {
    return decoder.decode(this.rest());
  }

  readCount(): number {
    return this.#view.getUint32(this.#output(4), true);
  }

  readNumber(): number {
    return this.#view.getFloat64(this.#output(8), true);
  }

  readByte(): number {
    return this.#bytes[this.#output(1)]!;
  }

  /** Bytes after their length, in the module's memory: good until the next call. */
  readSized(): Uint8Array {
    const length = this.readCount();
    const at = this.#output(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** All of the output as whole numbers. */
  readCounts(): number[] {
    const counts = new Array<number>(this.calls["output_bytes"]!() / 4);
    for (let at = 0; at < counts.length; at++) counts[at] = this.readCount();
    return counts;
  }
}
