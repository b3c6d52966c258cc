/**
 * Owed: invalidations that Redis has not confirmed, and how they are said before anything is read again.
 *
 * Which they are the core knows; here it is seen to that they are said, whether or not anybody reads. Must not know what is said
 * besides.
 */
import { unref } from "../timers.js";
import { Fault, within } from "./connection.js";
import type { Instance } from "./instance.js";
import type { Line } from "./line.js";
import { confirm, inParts } from "./replies.js";
import type { Sweeps } from "./sweeps.js";
import type { Memory } from "./via.js";
import { EVERYTHING, KEY, PATTERN, TAG, type Target, writeTargets } from "./wire.js";

/** How soon, and then how often at least, Redis is tried while something is owed. */
const FIRST_TRY = 20;
const LONGEST_TRY = 500;

/** The way to Redis. */
export interface Way {
  line(): Promise<Line>;
  /** Notes a fault that is nobody's error. */
  notice(error: unknown): void;
  /** Memory in front. */
  readonly near: Pick<Memory, "forgetTargets"> | undefined;
}

/** A target as the core tells it: everything has an empty text. */
type Told = Target & { readonly text: string };

export class Owed {
  readonly #instance: Instance;
  readonly #sweeps: Sweeps;
  readonly #way: Way;
  /** How long a command may wait. */
  readonly #patience: number;
  #isOwing = false;
  #isCollecting = false;
  #replaying: Promise<void> | undefined;
  #isClosed = false;

  constructor(instance: Instance, sweeps: Sweeps, way: Way, patience: number) {
    this.#instance = instance;
    this.#sweeps = sweeps;
    this.#way = way;
    this.#patience = patience;
    // What was owed is not known any more: all of it, then.
    instance.whenRestarted(() => this.owe([{ kind: EVERYTHING }]));
  }

  /** Whether something is owed, as of the last look. */
  get isOwing(): boolean {
    return this.#isOwing;
  }

  /** Looks whether something is owed; gives the epoch, by which what is said from here on will be paid. */
  look(): number {
    return this.#instance.ask((core) => {
      this.#isOwing = core.begin().call("owed") !== 0;
      return core.register(0);
    });
  }

  owe(targets: readonly Target[]): void {
    this.#instance.ask((core) => writeTargets(core.begin(), targets).call("owe"));
    this.#isOwing = true;
    // From here on it is said before anything is read; what was read meanwhile is as old as what is owed.
    this.#way.near?.forgetTargets(targets);
    this.#collect();
  }

  /** Notes that targets were said since the look that gave this epoch. */
  paid(targets: readonly Target[], epoch: number): void {
    this.#instance.ask((core) => writeTargets(core.begin(), targets).call("paid", epoch, performance.now()));
    this.look();
  }

  /** Says what is owed over a line. */
  async replay(line: Line): Promise<void> {
    const instance = this.#instance;
    const { batch, targets } = instance.ask((core) => {
      const batch = core.begin().call("batch");
      const target = (): Told => ({ kind: core.readByte() as Told["kind"], text: core.readText() });
      const targets = Array.from({ length: core.readCount() }, target);
      return { batch, targets };
    });
    const { era } = instance;
    let isSaid = false;
    try {
      const of = (kind: number): string[] => targets.filter((target) => target.kind === kind).map(({ text }) => text);
      if (targets.some(({ kind }) => kind === EVERYTHING)) await this.#sweeps.sweep(line, "*", { count: 0 });
      for (const glob of of(PATTERN)) await this.#sweeps.sweep(line, glob, { count: 0 });
      const keys = of(KEY).map((key) => instance.prefix + key);
      confirm(await line.ask(inParts("UNLINK", keys)));
      const tags = of(TAG);
      if (tags.length > 0) confirm(await line.ask(instance.calls((core) => core.begin().texts(tags).call("move_tags"))));
      isSaid = true;
      // Another cache that shares memory may have read it in the meantime.
      this.#way.near?.forgetTargets(targets);
    } finally {
      if (era === instance.era) {
        instance.ask((core) => core.begin().call("replayed", batch, isSaid ? 1 : 0, performance.now()));
        this.look();
      }
    }
  }

  /** The open line, with nothing owed any more: for what reads. */
  async settledLine(): Promise<Line> {
    const line = await this.#way.line();
    if (!this.#isOwing) return line;
    // A sweep may take its time, and is not begun anew for each who wants to read; nor does anybody wait for it longer than for a command.
    this.#replaying ??= this.replay(line)
      .catch((error: unknown) => this.#way.notice(error))
      .finally(() => (this.#replaying = undefined));
    await within(this.#patience, this.#replaying, () => new Fault("open"));
    if (this.#isOwing) throw new Fault("open");
    return line;
  }

  /** Sees to it that what is owed is said as soon as Redis is there again, whether or not anybody reads. */
  #collect(): void {
    if (this.#isCollecting || this.#isClosed) return;
    this.#isCollecting = true;
    const attempt = (wait: number): void => {
      unref(
        setTimeout(() => {
          void this.settledLine()
            .catch(() => undefined)
            .then(() => {
              if (this.#isOwing && !this.#isClosed) attempt(Math.min(wait * 2, LONGEST_TRY));
              else this.#isCollecting = false;
            });
        }, wait),
      );
    };
    attempt(FIRST_TRY);
  }

  /** Tries no more. */
  close(): void {
    this.#isClosed = true;
  }
}
