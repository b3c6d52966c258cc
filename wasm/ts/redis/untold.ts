/**
 * Untold: memory in front of a store that tells nobody of changes, as one cache uses it.
 *
 * The memory belongs to all caches of a namespace over one store, as in a worker a cache lasts for a request. What one of them changes it
 * has no more; what others change it has until its time is over, which counts from when a value was asked for.
 *
 * Invariant: while this cache owes the store an invalidation, it is served nothing from there, since another may have read meanwhile what
 * is to be invalidated.
 */
import type { Explained, Stats } from "../tier.js";
import type { Near } from "./near.js";
import type { Outline } from "./outline.js";
import { type Front, type InFront, type Keeper, type Memory, Via } from "./via.js";
import type { Target } from "./wire.js";

/** So many values whose time is over leave with each that comes: there are no timers where this is used. */
const LEAVE_WITH_ONE = 8;

export class Untold implements Memory, Keeper, InFront {
  readonly memory = this;
  readonly #near: Near;
  #front: Front | undefined;
  #isEnabled = true;
  #hits = 0;

  constructor(near: Near) {
    this.#near = near;
  }

  keeper(front: Front): Keeper {
    this.#front = front;
    return this;
  }

  /** Whether this cache may have to do with memory now. */
  get #isOpen(): boolean {
    return this.#isEnabled && this.#front?.isOwing === false;
  }

  // -- served

  hit(key: string): unknown {
    const value = this.#isOpen ? this.#near.hit(key) : undefined;
    if (value !== undefined) this.#hits++;
    return value;
  }

  explain(key: string): Explained | undefined {
    return this.#isOpen ? this.#near.explain(key) : undefined;
  }

  state(): ReturnType<Near["state"]> {
    return this.#isOpen ? this.#near.state() : { coherence: "suspect", lastPush: undefined };
  }

  // -- entering

  via(): Via | undefined {
    if (!this.#isOpen) return undefined;
    if (this.#near.open()) this.#near.track("nobody");
    return new Via(undefined, this.#near.guard(), this.#near.clock.now());
  }

  admit(via: Via | undefined, key: string, value: unknown, answer: Uint8Array): void {
    if (via === undefined) return;
    // A counter does not enter: it changes more often than it is worth.
    this.#near.admit(via.guard, key, value, answer, this.#redisThen(via), via.asked);
    this.#near.tidy(LEAVE_WITH_ONE);
  }

  admitTaken(via: Via | undefined, key: string, value: unknown, outline: Outline | undefined): void {
    if (via === undefined || outline === undefined) return;
    this.#near.admitTaken(via.guard, key, value, outline, this.#redisThen(via), via.asked);
    this.#near.tidy(LEAVE_WITH_ONE);
  }

  /** What this process knows to be gone it serves no more: a strong read may have found that out. */
  missed(via: Via | undefined, key: string): void {
    if (via !== undefined) this.#near.forget([key]);
  }

  /** The store's clock when it was asked. */
  #redisThen({ asked }: Via): number {
    return this.#front!.link.clock() - (this.#near.clock.now() - asked);
  }

  // -- leaving

  forget(keys: readonly string[]): void {
    this.#near.forget(keys);
  }

  forgetMatching(pattern: string): void {
    this.#near.forgetMatching(pattern);
  }

  forgetTags(tags: readonly string[]): void {
    this.#near.forgetTags(tags);
  }

  forgetTargets(targets: readonly Target[]): void {
    this.#near.forgetTargets(targets);
  }

  // -- the rest

  addTo(stats: Stats): Stats {
    return this.#near.addTo(stats, this.#hits);
  }

  resetStats(): void {
    this.#hits = 0;
  }

  switch(enabled: boolean): void {
    this.#isEnabled = enabled;
  }

  start(): void {}

  usualEnded(): void {}

  close(): void {}
}
