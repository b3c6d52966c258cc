/**
 * Messages: what is published to all who share the store, and what of it is kept for those who listen here.
 */
import { UnsupportedOperationError } from "../errors.js";
import { BoundedInbox } from "../inbox.js";
import type { Inbox } from "../tier.js";
import { DecodeError, type Isolated } from "../value.js";
import type { Engine } from "./engine.js";
import { asNumber } from "./replies.js";
import { plain } from "./script.js";
import { pack, unpack } from "./wire.js";

export class Messages {
  readonly #engine: Engine;
  readonly #inboxes = new Set<BoundedInbox>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  #nameOf(channel: string, isRaw: boolean): string {
    return isRaw ? channel : this.#engine.instance.nameOf(channel, 2);
  }

  async publish(channel: string, message: Isolated, isRaw: boolean): Promise<number> {
    const name = this.#nameOf(channel, isRaw);
    // Whoever began to listen here before hears it, though Redis may not have confirmed that yet.
    await this.#engine.ear?.settled(name);
    try {
      // Not said twice: some may have heard it.
      const line = await this.#engine.line();
      return asNumber((await line.ask([plain("PUBLISH", name, pack(message))]))[0]);
    } catch (error) {
      throw this.#engine.unavailable(error);
    }
  }

  subscribe(channels: readonly string[], isRaw: boolean, limit: number): Inbox {
    const { ear } = this.#engine;
    if (ear === undefined) throw new UnsupportedOperationError("the way to this redis has no channels: connect to it by a client that has");
    const stops: (() => void)[] = [];
    const inbox = new BoundedInbox(limit, () => {
      this.#inboxes.delete(inbox);
      for (const stop of stops) stop();
    });
    this.#inboxes.add(inbox);
    for (const channel of new Set(channels)) {
      stops.push(ear.listen(this.#nameOf(channel, isRaw), (message) => inbox.put({ channel, data: dataOf(message) })));
    }
    return inbox;
  }

  /** Ends all that listen. */
  close(): void {
    for (const inbox of [...this.#inboxes]) inbox.close();
  }
}

/** Anybody may have sent it: what is no JSON is bytes. */
function dataOf(message: Uint8Array): unknown {
  try {
    return unpack(message);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return new Uint8Array(message);
  }
}
