/**
 * Options: of stores and adapters, which are positive numbers all.
 */
import { ConfigError } from "../errors.js";
import { nameOf } from "../keys.js";

/** What timers can still wait for, and more than any value has bytes. */
export const MOST = 0x7fff_ffff;

/** Refuses options that are none of these, each of which is at most so much: one that is misspelt would go unnoticed. */
export function checkNumbers(options: object, most: Readonly<Record<string, number>>): void {
  if (typeof options !== "object" || options === null) throw new ConfigError(`options are an object, not ${nameOf(options)}`);
  for (const [name, given] of Object.entries(options)) {
    if (!Object.hasOwn(most, name)) throw new ConfigError(`there is no option \`${name}\`; there are ${Object.keys(most).join(", ")}`);
    const isRight = given === undefined || (typeof given === "number" && given > 0 && given <= most[name]!);
    if (!isRight) throw new ConfigError(`\`${name}\` is a positive number, up to ${most[name]}`);
  }
}
