/**
 * Rest: Redis behind Upstash's REST API, as connections. Whatever is sent together is one request.
 *
 * JSON carries text, and values are bytes: so each command goes as a script whose arguments are spelled in printable letters, and
 * which spells them back. What a script does, the primary does; a plain read might be answered by a replica that lags behind.
 *
 * HTTP has no connection. Here one lasts until a request brings no answer: that is all that can be noticed of a server whose place
 * another took, and so the next request says first what might have been lost.
 */
import { type Arg, type Command, type Connection, Fault, type Library, RefusedError, type Reply, ReplyError } from "./connection.js";

/** Where to send requests, and how. */
export interface Rest {
  readonly url: string;
  readonly token: string;
  /** Milliseconds until an answer has to be there. */
  readonly timeout: number;
  /** Whether single values may be read from a replica that lags behind. */
  readonly readsNearest: boolean;
}

/** Spells a script's arguments back: `%` and two hexadecimal digits stand for a byte. Each of these is worked out once. */
const PREAMBLE =
  "local letters = setmetatable({}, {__index = function(known, code) local letter = string.char(tonumber(code, 16)) known[code] = letter return letter end}) " +
  "local ARGV = (function(spelled) local meant = {} for at = 1, #spelled do meant[at] = string.gsub(spelled[at], '%%(%x%x)', letters) end return meant end)(ARGV)\n";

/** Does one command: its name is the first argument, its keys come next. */
const RUN =
  `${PREAMBLE}local command = {ARGV[1]} for at = 1, #KEYS do command[at + 1] = KEYS[at] end ` +
  "for at = 2, #ARGV do command[#command + 1] = ARGV[at] end return redis.pcall(unpack(command))";

/** How many of a command's first arguments are keys; of those that are not here, one. */
const KEYS: Readonly<Record<string, number>> = { UNLINK: Infinity, MGET: Infinity, SCAN: 0, TIME: 0, PUBLISH: 0 };

/** A request may take so much longer for every ten thousand bytes of it. */
const MORE_PER_BYTE = 1 / 10_000;

/** For how long the server's time is known, in milliseconds. */
const TIME_LASTS = 5_000;

export class RestApi implements Library {
  readonly listen = undefined;
  readonly preamble = PREAMBLE;
  readonly mayOvertake = true;
  readonly #rest: Rest;
  /** How far the primary had come when it answered last, in words of its own: a replica answers once it has come as far. */
  #seen: string | undefined;
  /** The server's clock less this one, in milliseconds. */
  #offset = 0;
  #offsetAt = -Infinity;

  constructor(rest: Rest) {
    this.#rest = rest;
  }

  async connect(): Promise<Connection> {
    return new RestConnection(this);
  }

  replyOf(error: unknown): ReplyError | undefined {
    return error instanceof RefusedError ? error.reply : undefined;
  }

  /** Commands in one request. What brings no answer to all of them throws. */
  async request(commands: readonly Command[], giveUp: AbortController): Promise<Reply[]> {
    if (commands.length === 1 && commands[0]![0] === "TIME") return [await this.#time(giveUp)];
    try {
      return await this.#inTime(commands, giveUp);
    } catch (error) {
      // Another may take the server's place, and go by another clock.
      this.#offsetAt = -Infinity;
      throw error;
    }
  }

  /** The server's time. One request tells it to all caches over this, so that one that is made for each call need not ask anew. */
  async #time(giveUp: AbortController): Promise<Reply> {
    const asked = performance.now();
    if (asked - this.#offsetAt <= TIME_LASTS) return parts(asked + this.#offset);
    const [time] = await this.#inTime([["TIME"]], giveUp);
    if (!Array.isArray(time)) return time!;
    const [seconds, micros] = (time as readonly Reply[]).map((part) => Number(part instanceof Uint8Array ? decoder.decode(part) : part));
    const offset = seconds! * 1_000 + micros! / 1_000 - asked;
    if (Number.isFinite(offset)) [this.#offset, this.#offsetAt] = [offset, asked];
    return time;
  }

  async #inTime(commands: readonly Command[], giveUp: AbortController): Promise<Reply[]> {
    const body = JSON.stringify(commands.map((command) => this.#spelled(command)));
    let isLate = false;
    const late = (): void => {
      isLate = true;
      giveUp.abort();
    };
    const timer = setTimeout(late, this.#rest.timeout + body.length * MORE_PER_BYTE);
    try {
      return await this.#answered(
        body,
        commands.length,
        commands.every(([name]) => this.#isRead(name)),
        giveUp.signal,
      );
    } catch (error) {
      throw isLate ? new Fault("timedOut") : error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #answered(body: string, count: number, isRead: boolean, signal: AbortSignal): Promise<Reply[]> {
    const { url, token } = this.#rest;
    const response = await fetch(`${url}/pipeline`, {
      method: "POST",
      headers: {
        Authorization: `Bearer ${token}`,
        "Content-Type": "application/json",
        "Upstash-Encoding": "base64",
        ...(this.#seen === undefined ? {} : { "Upstash-Sync-Token": this.#seen }),
      },
      body,
      // A redirect would turn the request into another one.
      redirect: "manual",
      signal,
      ...UNCACHED,
    });
    const text = await response.text();
    // Somebody at the door says so, after what was asked was done, or before.
    if (response.status >= 500) throw new Fault("lost");
    if (response.status === 401 || response.status === 403)
      return Array.from({ length: count }, () => new ReplyError("NOAUTH the token is refused"));
    const answer: unknown = JSON.parse(text);
    if (isFailed(answer)) return Array.from({ length: count }, () => new ReplyError(answer.error));
    if (!Array.isArray(answer) || answer.length !== count) throw new Fault("protocol");
    if (!isRead) this.#seen = response.headers.get("Upstash-Sync-Token") ?? this.#seen;
    return answer.map((each: unknown) =>
      isFailed(each) ? new ReplyError(each.error) : meant((each as { result?: unknown } | null)?.result),
    );
  }

  /** Whether a replica may answer it. */
  #isRead(name: Arg | undefined): boolean {
    return this.#rest.readsNearest && (name === "GET" || name === "MGET");
  }

  /** A command as it is said. */
  #spelled(command: Command): readonly unknown[] {
    const [name, ...args] = command as readonly [string, ...Arg[]];
    if (name === "PING") return command;
    if (name === "EVAL" || name === "EVALSHA") {
      const [script, count, ...others] = args;
      const keys = Number(count);
      return [name, script, keys, ...others.slice(0, keys).map(text), ...others.slice(keys).map(spell)];
    }
    const split = Math.min(KEYS[name] ?? 1, args.length);
    const keys = args.slice(0, split).map(text);
    // A name that is no text is nobody's of ours, and goes among the arguments.
    if (keys.includes(undefined)) return ["EVAL", RUN, 0, name, ...args.map(spell)];
    if (this.#isRead(name)) return [name, ...keys];
    return ["EVAL", RUN, split, ...keys, name, ...args.slice(split).map(spell)];
  }
}

class RestConnection implements Connection {
  readonly #api: RestApi;
  /** By which requests that are under way are given up. */
  readonly #underWay = new Set<AbortController>();
  isOpen = true;

  constructor(api: RestApi) {
    this.#api = api;
  }

  async send(commands: readonly Command[], onAnswer: () => void): Promise<Reply[]> {
    const giveUp = new AbortController();
    this.#underWay.add(giveUp);
    try {
      return await this.#api.request(commands, giveUp);
    } finally {
      this.#underWay.delete(giveUp);
      onAnswer();
    }
  }

  async read(names: readonly string[]): Promise<unknown> {
    const [answer] = await this.send([["MGET", ...names]], () => undefined);
    if (answer instanceof ReplyError) throw new RefusedError(answer);
    return answer;
  }

  end(): void {
    this.isOpen = false;
    for (const giveUp of this.#underWay) giveUp.abort();
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Some hosts keep what they fetched; workerd, which does not, once refused to be told so. */
const UNCACHED: { cache?: "no-store" } = "WebSocketPair" in globalThis ? {} : { cache: "no-store" };

/** An argument as text, where it is one. */
function text(arg: Arg): string | undefined {
  if (typeof arg === "string") return arg;
  try {
    return strict.decode(arg);
  } catch {
    return undefined;
  }
}

const PERCENT = 0x25;
const DIGITS = encoder.encode("0123456789abcdef");

/** Bytes in printable letters. */
function spell(arg: Arg): string {
  const bytes = typeof arg === "string" ? encoder.encode(arg) : arg;
  const letters = new Uint8Array(bytes.length * 3);
  let end = 0;
  for (const byte of bytes) {
    if (byte >= 0x20 && byte <= 0x7e && byte !== PERCENT) {
      letters[end++] = byte;
    } else {
      letters[end++] = PERCENT;
      letters[end++] = DIGITS[byte >> 4]!;
      letters[end++] = DIGITS[byte & 15]!;
    }
  }
  return decoder.decode(letters.subarray(0, end));
}

function isFailed(answer: unknown): answer is { readonly error: string } {
  return typeof answer === "object" && answer !== null && typeof (answer as { error?: unknown }).error === "string";
}

/** What stands for an answer in JSON. */
function meant(result: unknown): Reply {
  if (result === null || typeof result === "number") return result;
  if (Array.isArray(result)) return result.map(meant);
  if (typeof result !== "string") throw new Fault("protocol");
  // `OK`, the one text that goes as it is, means as much as any other.
  const letters = atob(result);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

/** A time in milliseconds, as the server tells it. */
function parts(ms: number): Reply {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, (ms - seconds * 1_000) * 1_000];
}
