/**
 * Wire: what crosses to the core and back of commands, answers and values.
 */
import type { Core } from "../core.js";
import { DecodeError, type Isolated, parse, stringify } from "../value.js";
import { Fault, type FaultKind, type Reply, ReplyError } from "./connection.js";
import type { Call } from "./script.js";

/** What is to be invalidated: a key, a pattern, a tag, or everything. */
export type Target =
  | { readonly kind: typeof KEY | typeof PATTERN | typeof TAG; readonly text: string }
  | { readonly kind: typeof EVERYTHING };

export const KEY = 0;
export const PATTERN = 1;
export const TAG = 2;
export const EVERYTHING = 3;

const VALUE = 1;
const ASK = 2;
const REPLACEABLE = 3;

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a value that was seen is known by. Times are milliseconds. */
export interface Seen {
  readonly number: number;
  readonly freshFor: number;
  readonly usableFor: number;
  readonly loadTime: number;
  readonly isCounter: boolean;
  readonly tags: readonly string[];
  readonly codec: number;
  readonly payload: Uint8Array;
}

/** What a look at bytes has come to: a value, one whose tags have to be asked about first, what may be replaced, or nothing. */
export type Sight = Seen | { readonly tagged: number } | { readonly isReplaceable: true } | Record<never, never>;

export function readSight(core: Core, sight: number): Sight {
  if (sight === ASK) return { tagged: core.register(0) };
  if (sight === REPLACEABLE) return { isReplaceable: true };
  if (sight !== VALUE) return {};
  const [number, freshFor, usableFor, loadTime, isCounter] = [0, 1, 2, 3, 4].map((register) => core.register(register)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const tags = Array.from({ length: core.readCount() }, () => core.readText());
  const codec = core.readByte();
  return { number, freshFor, usableFor, loadTime, isCounter: isCounter !== 0, tags, codec, payload: core.rest().slice() };
}

/** The calls that stand next in the output. */
export function readCalls(core: Core): Call[] {
  return Array.from({ length: core.readCount() }, () => {
    const script = core.readByte();
    const args = Array.from({ length: core.readCount() }, () => core.readSized().slice());
    // The name of a command is a text to the client libraries.
    return { script, args: script === 0 ? [new TextDecoder().decode(args[0]), ...args.slice(1)] : args };
  });
}

/** Writes answers, which are read again by the core. */
function writeReplies(core: Core, replies: readonly Reply[]): Core {
  core.count(replies.length);
  for (const reply of replies) {
    if (reply === null) core.byte(0);
    else if (typeof reply === "number") core.byte(1).number(reply);
    else if (reply instanceof Uint8Array) core.byte(2).sized(reply);
    else if (reply instanceof ReplyError) core.byte(4).text(reply.code.toWellFormed()).text(reply.detail.toWellFormed());
    else writeReplies(core.byte(3), reply);
  }
  return core;
}

const FAULTS: Readonly<Record<FaultKind, number>> = { unreachable: 1, timedOut: 2, lost: 3, open: 4, protocol: 5 };

/** Writes answers, or what kept a command from being answered. */
export function writeOutcome(core: Core, outcome: readonly Reply[] | Fault): Core {
  return outcome instanceof Fault ? core.byte(FAULTS[outcome.kind]) : writeReplies(core.byte(0), outcome);
}

export function writeTargets(core: Core, targets: readonly Target[]): Core {
  core.count(targets.length);
  for (const target of targets) {
    core.byte(target.kind);
    if (target.kind !== EVERYTHING) core.text(target.text);
  }
  return core;
}

const JSON_CODEC = 1;
const BYTES_CODEC = 2;

/** The bytes of a value. */
export function encode(value: Isolated): Uint8Array {
  return value.kept instanceof Uint8Array ? value.kept : encoder.encode(stringify(value));
}

export function writePayload(core: Core, value: Isolated, payload: Uint8Array): Core {
  return core.byte(value.kept instanceof Uint8Array ? BYTES_CODEC : JSON_CODEC).sized(payload);
}

interface NodeBytes extends Uint8Array {
  utf8Slice?(from: number, to: number): string;
}

/** The value of a payload that begins somewhere in some bytes. */
export function decode(bytes: NodeBytes, from: number, codec: number): unknown {
  // What the libraries of Node give is not quite what a caller has put there.
  if (codec === BYTES_CODEC) return new Uint8Array(bytes.subarray(from));
  if (bytes.utf8Slice !== undefined) {
    const text = bytes.utf8Slice(from, bytes.length);
    // What is no UTF-8 shows as this; so may what is.
    if (!text.includes("\ufffd")) return parse(text);
  }
  let text: string;
  try {
    text = strict.decode(from === 0 ? bytes : bytes.subarray(from));
  } catch (error) {
    throw new DecodeError("no UTF-8", { cause: error });
  }
  return parse(text);
}

/** What a message says. Anybody may have sent it. */
export function unpack(message: Uint8Array): unknown {
  return message[0] === 0 ? decode(message, 1, BYTES_CODEC) : decode(message, 0, JSON_CODEC);
}

/** A value as a message: bytes have a zero before them, with which no JSON begins. */
export function pack(value: Isolated): Uint8Array {
  const payload = encode(value);
  return value.kept instanceof Uint8Array ? joined(payload) : payload;
}

function joined(payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(1 + payload.length);
  message.set(payload, 1);
  return message;
}
