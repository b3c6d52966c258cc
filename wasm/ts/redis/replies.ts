/**
 * Replies: what is read out of answers, what went wrong where they do not come, and commands about more names than one can take.
 */
import { type Arg, Fault, RefusedError, type Reply, ReplyError } from "./connection.js";
import { type Call, plain } from "./script.js";

/** Keys in one command. */
export const AT_ONCE = 1_000;

/** A command about names, again and again where they are too many for one. */
export function inParts(command: string, names: readonly Arg[]): Call[] {
  return slices(names).map((some) => plain(command, ...some));
}

/** Items by as many as one command can take. */
export function slices<T>(items: readonly T[]): (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / AT_ONCE) }, (_, part) => items.slice(part * AT_ONCE, (part + 1) * AT_ONCE));
}

/** The cursor and the names that SCAN gives. */
export function readPage(page: Reply | undefined): [cursor: string, names: Uint8Array[]] {
  if (page instanceof ReplyError) throw new RefusedError(page);
  const [cursor, names] = Array.isArray(page) ? (page as readonly Reply[]) : [];
  if (!(cursor instanceof Uint8Array) || !Array.isArray(names)) throw new Fault("protocol");
  return [new TextDecoder().decode(cursor), (names as Reply[]).filter((name) => name instanceof Uint8Array)];
}

export function asBytes(reply: Reply | undefined): Uint8Array | null {
  if (reply instanceof Uint8Array) return reply;
  if (reply === null || reply === undefined) return null;
  // A list or a hash under our name is no value; whoever asked for a string was told so.
  if (reply instanceof ReplyError) {
    if (reply.code === "WRONGTYPE") return null;
    throw new RefusedError(reply);
  }
  throw new Fault("protocol");
}

export function asNumber(reply: Reply | undefined): number {
  if (reply instanceof ReplyError) throw new RefusedError(reply);
  if (typeof reply !== "number") throw new Fault("protocol");
  return reply;
}

/** The sum of answers of which none is an error. */
export function confirm(replies: readonly Reply[]): number {
  let sum = 0;
  for (const reply of replies) {
    if (reply instanceof ReplyError) throw new RefusedError(reply);
    if (typeof reply === "number") sum += reply;
  }
  return sum;
}

/** What went wrong, where it is nothing but a fault. */
export function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof RefusedError) return new Fault("protocol");
  throw error;
}

/** Whether it is Redis that went wrong. */
export function isOfRedis(error: unknown): error is Fault | RefusedError {
  return error instanceof Fault || error instanceof RefusedError;
}

/** Whether the connection was lost, or was gone already: on another one it may go well. */
export function mayBeAgain(error: unknown): boolean {
  return error instanceof Fault && (error.kind === "lost" || error.kind === "unreachable");
}

/** Runs what may be run twice, and once more where the connection was lost meanwhile. */
export async function again<T>(what: () => Promise<T>): Promise<T> {
  try {
    return await what();
  } catch (error) {
    if (!(error instanceof Fault && error.kind === "lost")) throw error;
    return what();
  }
}
