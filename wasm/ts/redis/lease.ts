/**
 * Lease: the right to load a key, kept alive while the load runs, and filled, failed or given up.
 */
import type { Core } from "../core.js";
import type { Filled, Lease, Terms } from "../tier.js";
import { type Isolated, copy } from "../value.js";
import type { Engine } from "./engine.js";
import type { Passing } from "./instance.js";
import type { Renewals } from "./renewals.js";
import { asFault } from "./replies.js";
import { readOutline } from "./outline.js";
import { decode, encode, readCalls, writeOutcome, writePayload } from "./wire.js";

/** A lease as the core gives it. */
export interface LeaseFound {
  readonly lease: number;
  readonly ticket: number;
  readonly isRenewed: boolean;
}

/** A value in its bytes. */
export interface Encoded {
  readonly codec: number;
  readonly payload: Uint8Array;
}

export function readLease(core: Core): LeaseFound {
  return { lease: core.register(1), ticket: core.register(2), isRenewed: core.register(3) !== 0 };
}

export class Leases {
  readonly #engine: Engine;
  readonly #renewals: Renewals;

  constructor(engine: Engine, renewals: Renewals) {
    this.#engine = engine;
    this.#renewals = renewals;
  }

  /** The right to load without storing. */
  bypass(key: string): Lease {
    return this.#engine.instance.ask((core) => {
      core.begin().text(key).call("shared_bypass", performance.now());
      return this.of(key, readLease(core));
    });
  }

  /** `stale` may be served should the load fail. */
  of(key: string, { lease: number, ticket, isRenewed }: LeaseFound, stale?: Encoded): Lease {
    const { instance } = this.#engine;
    const { era } = instance;
    let isOver = false;
    if (isRenewed) this.#renewals.add(number);
    const end = (name: string, passing: Passing | undefined, ...numbers: number[]): void => {
      if (isOver || era !== instance.era) return;
      isOver = true;
      this.#renewals.remove(number);
      const calls = instance.pass(passing, (core) => {
        core.begin().call(name, number, ...numbers);
        return readCalls(core);
      });
      this.#engine.sayAside(calls);
    };
    return {
      key,
      ticket,
      leads: true,
      fallback: () => (isOver || stale === undefined ? undefined : decode(stale.payload, 0, stale.codec)),
      fill: async (value, terms) => {
        // Encoded before anything is asked: what has no form in bytes must not take the lease along.
        const payload = encode(value);
        if (isOver || era !== instance.era) return { isStored: false, value: copy(value.kept) };
        isOver = true;
        this.#renewals.remove(number);
        return this.#fill(key, number, value, payload, terms);
      },
      fail: (error) => end("shared_fail", { error }),
      abandon: () => end("shared_abandon", undefined),
    };
  }

  async #fill(key: string, lease: number, value: Isolated, payload: Uint8Array, { ttl, grace, tags }: Terms): Promise<Filled> {
    const { instance, link, keeper } = this.#engine;
    const { era } = instance;
    const next = instance.pass({ value: value.kept }, (core) => {
      writePayload(core.begin().texts(tags), value, payload);
      const filled = core.call("shared_fill", lease, ttl, grace, performance.now(), link.clock());
      return filled < 3 ? { filled } : { sent: core.register(0), calls: readCalls(core) };
    });
    let filled = next.filled;
    if (next.sent !== undefined) {
      const via = keeper?.via();
      const outline = via && instance.ask((core) => readOutline(core, core.begin().call("outline_of_sent", next.sent)));
      const outcome = await this.#engine.storeVia(via, next.calls).catch(asFault);
      if (era !== instance.era) return { isStored: false, value: copy(value.kept) };
      filled = instance.pass({ value: value.kept }, (core) =>
        writeOutcome(core.begin(), outcome).call("filled", next.sent, performance.now()),
      );
      if (filled === 0) keeper?.admitTaken(via, key, value.kept, outline);
    }
    return { isStored: filled === 0, value: copy(value.kept) };
  }
}
