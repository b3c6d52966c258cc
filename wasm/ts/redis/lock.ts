/**
 * Lock: one holder at a time among all who share the store.
 */
import { unlessAborted } from "../aborts.js";
import type { Held } from "../tier.js";
import { pause } from "../timers.js";
import type { Engine } from "./engine.js";
import { type Call, plain } from "./script.js";
import { readCalls } from "./wire.js";

/** What PTTL says of a key that is not there. */
const NO_KEY = -2;

export class Locks {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async take(name: string, ttl: number): Promise<Held | undefined> {
    const { instance } = this.#engine;
    const { token, calls } = instance.ask((core) => {
      core.begin().text(name).call("acquire", ttl);
      return { token: core.readSized().slice(), calls: readCalls(core) };
    });
    const unlock = (): Call[] => instance.calls((core) => core.begin().text(name).bytes(token).call("unlock_shared"));
    const extend = (longer: number): Call[] =>
      instance.calls((core) => core.begin().text(name).bytes(token).call("extend_shared_lock", longer));
    let fence: number;
    try {
      // Said twice it is the same: the token tells.
      fence = await this.#engine.number(calls);
    } catch (error) {
      this.#engine.sayAside(unlock());
      throw error;
    }
    if (fence <= 0) return undefined;
    return {
      fence,
      extend: async (longer) => (await this.#engine.number(extend(longer))) !== 0,
      release: async () => (await this.#engine.number(unlock())) !== 0,
    };
  }

  /** Waits until it may be free, so long at most. */
  async freed(name: string, atMost: number, signal: AbortSignal | undefined): Promise<void> {
    const { instance, ear } = this.#engine;
    // Listened to first, or it could be freed unheard in between.
    let heard!: () => void;
    const freed = new Promise<void>((resolve) => (heard = resolve));
    const channel = instance.nameOf(name, 1);
    const leave = ear?.listen(channel, heard);
    try {
      await unlessAborted(Promise.race([ear?.settled(channel), pause(atMost)]), signal);
      const left = await this.#engine.number([plain("PTTL", instance.nameOf(name, 0))]);
      if (left === NO_KEY) return;
      // One that never ends is none of ours, and may be removed all the same.
      await unlessAborted(Promise.race([freed, pause(left < 0 ? atMost : Math.min(atMost, left + 1))]), signal);
    } finally {
      leave?.();
    }
  }
}
