/**
 * Commands: what the shared tier says to Redis, carried out over rows.
 *
 * The protocol is the core's; here is what Redis would do about a command or a script, no more of it than the tier uses. The scripts
 * are those of `core/src/remote/script.rs`, by their numbers in `ALL` there.
 */
import { matches } from "../keys.js";
import { type Command, type Reply, ReplyError } from "../redis/connection.js";
import type { Fields, Row, Rows } from "./rows.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Where the fields of an entry are: see `docs/envelope.md`. */
const HEADER_BYTES = 20;
const FORMAT_AT = 2;
const KIND_AT = 3;
const SOFT_AT = 20;
const HARD_AT = 28;
const FLAGS_AT = 36;
const CODEC_AT = 37;
const LENGTH_AT = 40;
const VALUE = 0x56;
const LEASE = 0x4c;
const JSON_CODEC = 1;

const [FILL, RENEW, RELEASE, TOUCH, INCREMENT, MOVE_TAGS, ACQUIRE, EXTEND, UNLOCK] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

const WRONG_TYPE = new ReplyError("WRONGTYPE a tag table is no value");
const NO_COUNTER = new ReplyError("NOTACOUNTER");
const OVERFLOW = new ReplyError("ERR increment would overflow");

/** One command, and the names that it works on. */
export interface Asked {
  readonly command: string;
  readonly args: readonly (string | Uint8Array)[];
  readonly names: readonly string[];
  readonly writes: boolean;
}

const READS = new Set(["GET", "MGET", "GETRANGE", "PTTL", "HMGET", "SCAN", "TIME", "PING"]);
const WITHOUT_NAMES = new Set(["SCAN", "TIME", "PING", "PUBLISH"]);

/** What a command asks. */
export function read([command, ...args]: Command): Asked {
  const name = text(command!);
  const writes = !READS.has(name);
  if (name === "RUN") {
    const keys = Number(text(args[0]!)) === ACQUIRE ? 2 : 1;
    return { command: name, args, names: args.slice(1, 1 + keys).map(text), writes };
  }
  if (WITHOUT_NAMES.has(name)) return { command: name, args, names: [], writes: false };
  const names = name === "MGET" || name === "UNLINK" ? args : args.slice(0, 1);
  return { command: name, args, names: names.map(text), writes };
}

/** Whether these bytes are somebody's right to load, which means something only to those who wait. */
export function isLease(value: Row["value"]): boolean {
  return value instanceof Uint8Array && isEntry(value) && value[KIND_AT] === LEASE;
}

/** Carries out a command. `publish` gives how many were told. */
export async function run(rows: Rows, asked: Asked, publish: (channel: string, message: Uint8Array) => number): Promise<Reply> {
  const { command, args, names } = asked;
  const [name = ""] = names;
  switch (command) {
    case "GET":
      return stringOf(await rows.get(name));
    case "MGET":
      return Promise.all(names.map(async (name) => bytesOf(await rows.get(name))));
    case "GETRANGE": {
      const value = stringOf(await rows.get(name));
      if (value instanceof ReplyError) return value;
      return value === null ? new Uint8Array() : value.slice(number(args[1]), number(args[2]) + 1);
    }
    case "PTTL": {
      const row = await rows.get(name);
      if (row === undefined) return -2;
      return row.until === Infinity ? -1 : Math.max(0, row.until - Date.now());
    }
    case "SET": {
      const words = args.slice(2).map(text);
      if (words.includes("NX") && (await rows.get(name)) !== undefined) return null;
      const px = words.indexOf("PX");
      await rows.put(name, { value: bytes(args[1]!), until: px < 0 ? Infinity : after(Number(words[px + 1])) });
      return encoder.encode("OK");
    }
    case "UNLINK": {
      const were = await Promise.all(names.map((name) => rows.delete(name)));
      return were.filter(Boolean).length;
    }
    case "SCAN": {
      // Of a namespace, in which there is no colon, and a pattern, which with it might be too long for one.
      const [namespace, pattern] = split(text(args[2]!));
      const prefix = `${literalPrefix(namespace)}:`;
      const found = await rows.names(prefix + literalPrefix(pattern));
      const kept = found.filter((name) => matches(pattern, name.slice(prefix.length)));
      return [encoder.encode("0"), kept.map((name) => encoder.encode(name))];
    }
    case "HSETNX": {
      const fields = fieldsOf(await rows.get(name));
      const field = text(args[1]!);
      if (fields.has(field)) return 0;
      await rows.put(name, { value: new Map(fields).set(field, text(args[2]!)), until: Infinity });
      return 1;
    }
    case "HMGET": {
      const fields = fieldsOf(await rows.get(name));
      return args.slice(1).map((field) => {
        const found = fields.get(text(field));
        return found === undefined ? null : encoder.encode(found);
      });
    }
    case "TIME": {
      const now = Date.now();
      return [encoder.encode(String(Math.floor(now / 1_000))), encoder.encode(String((now % 1_000) * 1_000))];
    }
    case "PUBLISH":
      return publish(text(args[0]!), bytes(args[1]!));
    case "PING":
      return encoder.encode("PONG");
    case "RUN":
      return script(rows, number(args[0]), names, args.slice(1 + names.length), publish);
    default:
      return new ReplyError(`ERR unknown command ${command}`);
  }
}

async function script(
  rows: Rows,
  which: number,
  [name = "", second = ""]: readonly string[],
  args: Asked["args"],
  publish: (channel: string, message: Uint8Array) => number,
): Promise<Reply> {
  const row = await rows.get(name);
  const have = bytesOf(row) ?? new Uint8Array();
  const isHeader = (header: Uint8Array): boolean => have.length > 0 && isSame(have.subarray(0, HEADER_BYTES), header);
  const life = (ms: number): Promise<1> => rows.put(name, { value: have, until: after(ms) }).then(() => 1);
  switch (which) {
    case FILL: {
      const entry = bytes(args[1]!);
      if (!isHeader(bytes(args[0]!))) return isHeader(entry.subarray(0, HEADER_BYTES)) ? 2 : 0;
      await rows.put(name, { value: entry, until: after(number(args[2])) });
      return 1;
    }
    case RENEW:
      return isHeader(bytes(args[0]!)) ? life(number(args[1])) : 0;
    case RELEASE:
      if (!isHeader(bytes(args[0]!))) return 0;
      await rows.delete(name);
      return 1;
    case TOUCH: {
      if (!isHeader(bytes(args[0]!))) return 0;
      const [soft, hard] = [bytes(args[1]!), bytes(args[2]!)];
      const value = have.slice();
      if (soft.length > 0) {
        value.set(soft, SOFT_AT);
        value.set(hard, HARD_AT);
      }
      await rows.put(name, { value, until: after(number(args[3])) });
      return 1;
    }
    case INCREMENT:
      return increment(rows, name, row, args);
    case MOVE_TAGS: {
      const fields = new Map(fieldsOf(row));
      if (!fields.has(EPOCH)) fields.set(EPOCH, text(args[0]!));
      const version = Math.max(Number(fields.get(SEQ) ?? 0) + 1, Date.now() * 1_000);
      fields.set(SEQ, String(version));
      for (const tag of args.slice(2)) fields.set(text(tag), String(version));
      if (fields.size > number(args[1])) forgetOlderHalf(fields);
      await rows.put(name, { value: fields, until: Infinity });
      return 1;
    }
    case ACQUIRE: {
      const token = bytes(args[0]!);
      if (row !== undefined && !isSame(have, token)) return 0;
      if (row === undefined) await rows.put(name, { value: token, until: after(number(args[1])) });
      const last = bytesOf(await rows.get(second));
      const fence = Math.max(Number(last === null ? 0 : text(last)) + 1, Date.now());
      await rows.put(second, { value: encoder.encode(String(fence)), until: Infinity });
      return fence;
    }
    case EXTEND:
      return row !== undefined && isSame(have, bytes(args[0]!)) ? life(number(args[1])) : 0;
    case UNLOCK:
      if (row === undefined || !isSame(have, bytes(args[0]!))) return 0;
      await rows.delete(name);
      publish(text(args[1]!), new Uint8Array());
      return 1;
    default:
      return new ReplyError(`ERR unknown script ${which}`);
  }
}

async function increment(rows: Rows, name: string, row: Row | undefined, [by, ms, dead, alive]: Asked["args"]): Promise<Reply> {
  let digits: string | undefined;
  let until = after(number(ms));
  const have = bytesOf(row);
  if (have !== null && isEntry(have)) {
    const header = have.subarray(0, HEADER_BYTES);
    if (have[FORMAT_AT] !== 1) return NO_COUNTER;
    if (have[KIND_AT] === VALUE && !isSame(header, bytes(dead!))) {
      if (have[FLAGS_AT]! % 2 === 1 && !isSame(header, bytes(alive!))) return [have];
      const length = new DataView(have.buffer, have.byteOffset).getUint32(LENGTH_AT);
      if (have[CODEC_AT] !== JSON_CODEC || length === 0) return NO_COUNTER;
      digits = text(have.subarray(have.length - length));
    }
  } else if (have !== null) {
    digits = text(have);
  } else if (row !== undefined) {
    return WRONG_TYPE;
  }
  if (digits !== undefined) {
    if (!/^-?\d+$/.test(digits) || !is64Bit(BigInt(digits))) return NO_COUNTER;
    until = row!.until;
  }
  const sum = BigInt(digits ?? 0) + BigInt(text(by!));
  if (!is64Bit(sum)) return OVERFLOW;
  const value = encoder.encode(String(sum));
  await rows.put(name, { value, until });
  return value;
}

/** Fields that no tag can be called. */
const EPOCH = "\0epoch";
const SEQ = "\0seq";
const FLOOR = "\0floor";

function forgetOlderHalf(fields: Map<string, string>): void {
  const tags = [...fields].filter(([field]) => !field.startsWith("\0"));
  const versions = tags.map(([, version]) => Number(version)).sort((one, other) => one - other);
  const floor = versions[Math.floor(versions.length / 2) - 1]!;
  for (const [tag, version] of tags) if (Number(version) <= floor) fields.delete(tag);
  fields.set(FLOOR, String(floor));
}

function fieldsOf(row: Row | undefined): Fields {
  return row?.value instanceof Map ? row.value : new Map();
}

function bytesOf(row: Row | undefined): Uint8Array | null {
  return row?.value instanceof Uint8Array ? row.value : null;
}

function stringOf(row: Row | undefined): Uint8Array | null | ReplyError {
  return row === undefined || row.value instanceof Uint8Array ? bytesOf(row) : WRONG_TYPE;
}

function isEntry(bytes: Uint8Array): boolean {
  return bytes[0] === 0xc1 && bytes[1] === 0x44;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

function is64Bit(number: bigint): boolean {
  return BigInt.asIntN(64, number) === number;
}

/** The moment so many milliseconds from now; 0 stands for never. */
function after(ms: number): number {
  return ms === 0 ? Infinity : Date.now() + ms;
}

function split(glob: string): [string, string] {
  const colon = glob.indexOf(":");
  return [glob.slice(0, colon), glob.slice(colon + 1)];
}

/** With what all begin that a glob matches. */
function literalPrefix(glob: string): string {
  let prefix = "";
  for (let at = 0; at < glob.length; at++) {
    if ("*?[".includes(glob[at]!)) break;
    if (glob[at] === "\\" && at + 1 < glob.length) at++;
    prefix += glob[at];
  }
  return prefix;
}

function text(arg: string | Uint8Array): string {
  return typeof arg === "string" ? arg : decoder.decode(arg);
}

function bytes(arg: string | Uint8Array): Uint8Array {
  return typeof arg === "string" ? encoder.encode(arg) : arg;
}

function number(arg: string | Uint8Array | undefined): number {
  return Number(text(arg!));
}
