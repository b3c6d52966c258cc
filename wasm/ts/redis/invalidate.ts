/**
 * Invalidate: keys, patterns, tags, or everything; said to Redis now, or owed until it can be.
 *
 * Invariant: from its first step an invalidation is owed; it is paid when Redis has confirmed all of it. Whatever cuts it short leaves
 * it owed, and it is said before this process reads again.
 */
import { BackendUnavailableError } from "../errors.js";
import type { Removed } from "../tier.js";
import type { Engine } from "./engine.js";
import { AT_ONCE, again, confirm } from "./replies.js";
import type { Count } from "./sweeps.js";
import { EVERYTHING, KEY, PATTERN, TAG, type Target, writeOutcome } from "./wire.js";

export class Invalidations {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Says an invalidation, which adds to the count what it is known to have removed. */
  async #invalidate(targets: readonly Target[], say: (removed: Count) => Promise<void>): Promise<Removed> {
    const { instance, link, owed } = this.#engine;
    const { era } = instance;
    const removed = { count: 0 };
    let epoch = -1;
    let isSaid = false;
    try {
      // What is said over a connection that is not there yet belongs to that one.
      await link.line().catch(() => undefined);
      epoch = owed.look();
      await say(removed);
      isSaid = true;
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) this.#engine.notice(error);
    } finally {
      if (isSaid && era === instance.era) owed.paid(targets, epoch);
      else owed.owe(targets);
    }
    return { count: removed.count, queued: !isSaid };
  }

  async keys(keys: readonly string[]): Promise<Removed> {
    if (keys.length === 0) return { count: 0, queued: false };
    const { instance } = this.#engine;
    this.detach(keys);
    const removed = await this.#invalidate(
      keys.map((text) => ({ kind: KEY, text })),
      async (removed) => {
        for (let at = 0; at < keys.length; at += AT_ONCE) {
          const some = keys.slice(at, at + AT_ONCE);
          const replies = await this.#engine.say(instance.calls((core) => core.begin().texts(some).call("shared_delete")));
          removed.count += instance.ask((core) => writeOutcome(core.begin(), replies).call("count_removed"));
        }
      },
    );
    this.detach(keys);
    return removed;
  }

  /** Sends the loads of keys away, and takes them from memory. */
  detach(keys: readonly string[]): void {
    this.#engine.instance.ask((core) => core.begin().texts(keys).call("detach"));
    this.#engine.near?.forget(keys);
  }

  async pattern(pattern: string): Promise<Removed> {
    const { instance, link, near, sweeps } = this.#engine;
    // Refused before anything is owed; and the loads of this process that match are sent away.
    const isEverything = instance.ask((core) => core.begin().text(pattern).call("sweep") !== 0);
    near?.forgetMatching(pattern);
    const target: Target = isEverything ? { kind: EVERYTHING } : { kind: PATTERN, text: pattern };
    // The server's cursor is of no use on another connection, or on another server.
    const removed = await this.#invalidate([target], (removed) => again(async () => sweeps.sweep(await link.line(), pattern, removed)));
    instance.ask((core) => core.begin().text(pattern).call("sweep"));
    near?.forgetMatching(pattern);
    return removed;
  }

  async tags(tags: readonly string[]): Promise<Removed> {
    if (tags.length === 0) return { count: 0, queued: false };
    const { instance, near } = this.#engine;
    near?.forgetTags(tags);
    const removed = await this.#invalidate(
      tags.map((text) => ({ kind: TAG, text })),
      async (removed) => {
        confirm(await this.#engine.say(instance.calls((core) => core.begin().texts(tags).call("move_tags"))));
        removed.count = tags.length;
      },
    );
    near?.forgetTags(tags);
    return removed;
  }
}
