/**
 * Outline: what memory in front has to know of a value that was taken, as the core of the tier tells it.
 */
import type { Core } from "../core.js";

/** Until when it is fresh and usable on Redis's clock, in milliseconds, infinite for ever; and the tables that have its tags. */
export interface Outline {
  readonly freshUntil: number;
  readonly usableUntil: number;
  readonly tables: Uint8Array;
}

/** Reads what a call has given; `undefined` of what memory may not have. */
export function readOutline(core: Core, given: number): Outline | undefined {
  return given === 0 ? undefined : { freshUntil: core.register(0), usableUntil: core.register(1), tables: core.rest().slice() };
}
