/**
 * Options: refuses those that are none, as one that is misspelt would go unnoticed.
 */
import { ConfigError } from "./errors.js";
import { nameOf } from "./keys.js";

/** Refuses options that are none of these. */
export function checkNames(options: object | undefined, names: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`options are an object, of ${names.join(", ")}, not ${nameOf(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new ConfigError(`there is no option \`${name}\`; there are ${names.join(", ")}`);
  }
}

/** Refuses memory in front of a store that `memory` of donjon/near has not made: how late it may be has to be stated. */
export function checkNear(near: unknown): void {
  if (near === undefined || typeof (near as { of?: unknown } | null)?.of === "function") return;
  throw new ConfigError('`near` is what `memory` of donjon/near gives, which says how late it may be: memory({ ttl: "2s" })');
}

/** What timers can still wait for, and more than any value has bytes. */
export const MOST = 0x7fff_ffff;

/** Refuses options that are none of these, each of which is a positive number, at most so much. */
export function checkNumbers(options: object, most: Readonly<Record<string, number>>): void {
  if (typeof options !== "object" || options === null) throw new ConfigError(`options are an object, not ${nameOf(options)}`);
  checkNames(options, Object.keys(most));
  for (const [name, given] of Object.entries(options)) {
    const isRight = given === undefined || (typeof given === "number" && given > 0 && given <= most[name]!);
    if (!isRight) throw new ConfigError(`\`${name}\` is a positive number, up to ${most[name]}`);
  }
}
