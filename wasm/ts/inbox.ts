/**
 * Inbox: what was published on some channels and not taken yet, the newest up to a limit.
 */
import type { Inbox } from "./tier.js";

interface Message {
  readonly channel: string;
  readonly data: unknown;
}

export class BoundedInbox implements Inbox {
  readonly #limit: number;
  readonly #onClose: (inbox: BoundedInbox) => void;
  #messages: Message[] = [];
  #first = 0;
  #dropped = 0;
  #isClosed = false;
  #arrival: { readonly promise: Promise<boolean>; readonly resolve: (isOpen: boolean) => void } | undefined;

  constructor(limit: number, onClose: (inbox: BoundedInbox) => void) {
    this.#limit = limit;
    this.#onClose = onClose;
  }

  get dropped(): number {
    return this.#dropped;
  }

  put(message: Message): void {
    if (this.#isClosed) return;
    this.#messages.push(message);
    if (this.#messages.length - this.#first > this.#limit) {
      this.#first++;
      this.#dropped++;
      if (this.#first > this.#limit) this.#compact();
    }
    this.#announce(true);
  }

  take(): Message | undefined {
    const message = this.#messages[this.#first];
    if (message === undefined) return undefined;
    this.#first++;
    if (this.#first === this.#messages.length || this.#first > 1_000) this.#compact();
    return message;
  }

  #compact(): void {
    this.#messages = this.#messages.slice(this.#first);
    this.#first = 0;
  }

  arrived(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    if (this.#first < this.#messages.length) return Promise.resolve(true);
    if (this.#arrival === undefined) {
      let resolve!: (isOpen: boolean) => void;
      const promise = new Promise<boolean>((settle) => (resolve = settle));
      this.#arrival = { promise, resolve };
    }
    return this.#arrival.promise;
  }

  #announce(isOpen: boolean): void {
    this.#arrival?.resolve(isOpen);
    this.#arrival = undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#messages = [];
    this.#first = 0;
    this.#onClose(this);
    this.#announce(false);
  }
}

/** The channels of one process: who listens to what. */
export class Hub {
  readonly #channels = new Map<string, Set<BoundedInbox>>();

  /** Gives a message to all who listen, each a value of their own, and says how many they are. */
  publish(channel: string, value: () => unknown): number {
    const inboxes = this.#channels.get(channel);
    if (inboxes === undefined) return 0;
    for (const inbox of inboxes) inbox.put({ channel, data: value() });
    return inboxes.size;
  }

  subscribe(channels: readonly string[], limit: number): BoundedInbox {
    const names = new Set(channels);
    const inbox = new BoundedInbox(limit, () => {
      for (const name of names) {
        const inboxes = this.#channels.get(name);
        inboxes?.delete(inbox);
        if (inboxes?.size === 0) this.#channels.delete(name);
      }
    });
    for (const name of names) {
      const inboxes = this.#channels.get(name);
      if (inboxes === undefined) this.#channels.set(name, new Set([inbox]));
      else inboxes.add(inbox);
    }
    return inbox;
  }

  closeAll(): void {
    for (const inboxes of [...this.#channels.values()]) for (const inbox of [...inboxes]) inbox.close();
  }
}
