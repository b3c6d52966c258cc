/**
 * Script: calls as the commands that say them. A script is named by its hash, and sent in full to a server that does not know it.
 */
import { type Arg, type Command, type Library, type Reply, ReplyError } from "./connection.js";

/** A command, or a script by its number. */
export interface Call {
  /** 0 for a command. */
  readonly script: number;
  readonly args: readonly Arg[];
}

/** A command by its name. */
export function plain(command: string, ...args: Arg[]): Call {
  return { script: 0, args: [command, ...args] };
}

export interface Script {
  readonly keys: number;
  readonly text: string;
}

/** The scripts by their numbers, from 1 on. */
export class Scripts {
  readonly #scripts: readonly Script[];
  readonly #areNumbered: boolean;
  #hashing: Promise<readonly string[]> | undefined;
  #hashes: readonly string[] = [];

  constructor(scripts: readonly Script[], { hasOwnScripts = false, preamble = "" }: Pick<Library, "hasOwnScripts" | "preamble">) {
    this.#scripts = scripts.map(({ keys, text }) => ({ keys, text: preamble + text }));
    this.#areNumbered = hasOwnScripts;
  }

  /** Finds out their hashes. To be awaited before anything is said. */
  async prepare(): Promise<void> {
    if (this.#areNumbered) return;
    this.#hashes = await (this.#hashing ??= Promise.all(this.#scripts.map(({ text }) => sha1(text))));
  }

  command({ script, args }: Call, isInFull: boolean): Command {
    if (script === 0) return args;
    if (this.#areNumbered) return ["RUN", String(script), ...args];
    const { keys, text } = this.#scripts[script - 1]!;
    return [isInFull ? "EVAL" : "EVALSHA", isInFull ? text : this.#hashes[script - 1]!, String(keys), ...args];
  }
}

/** Whether the server did not know a script. */
export function isUnknown(reply: Reply | undefined): boolean {
  return reply instanceof ReplyError && reply.code === "NOSCRIPT";
}

async function sha1(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
