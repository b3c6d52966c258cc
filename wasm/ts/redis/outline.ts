/**
 * Outline: what memory in front has to know of a value that it may have, as the cores tell it.
 */
import type { Core } from "../core.js";

/** Until when it is fresh and usable on Redis's clock, in milliseconds, infinite for ever; and the tables that have its tags. */
export interface Outline {
  readonly freshUntil: number;
  readonly usableUntil: number;
  readonly tables: Uint8Array;
}

/** A counter: Redis alone knows how long it lives. */
export const COUNTER: unique symbol = Symbol("counter");

/** `undefined` of what memory may not have. */
export type Outlined = Outline | typeof COUNTER | undefined;

/** Reads what a call has given. */
export function readOutline(core: Core, given: number): Outlined {
  if (given === 2) return COUNTER;
  if (given === 0) return undefined;
  return { freshUntil: core.register(0), usableUntil: core.register(1), tables: core.rest().slice() };
}
