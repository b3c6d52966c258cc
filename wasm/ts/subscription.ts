/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Subscription: the messages of some channels, as a program walks through them.
 *
 * Must not know where they come from, nor how many wait.
 */
import type { Inbox } from "./tier.js";

/** A message as one listener gets it. */
export interface Message<T = unknown> {
  readonly channel: string;
  readonly data: T;
}

/** The messages of some channels. */
export interface Subscription<T = unknown> extends AsyncIterableIterator<Message<T>>, AsyncDisposable {
  /** How many were lost because they were not taken in time. */
  readonly dropped: number;
  close(): void;
}

/** Walks through an inbox until that, the walk or the signal ends it; then `closed` is told. */
export function listen<T>(inbox: Inbox, signal: AbortSignal | undefined, closed: (subscription: Subscription<T>) => void): Subscription<T> {
  const close = (): void => {
    inbox.close();
    signal?.removeEventListener("abort", close);
    closed(subscription);
  };
  const over = { done: true, value: undefined } as const;
  const subscription: Subscription<T> = {
    async next(): Promise<IteratorResult<Message<T>>> {
      for (;;) {
        const message = inbox.take();
        if (message !== undefined) return { done: false, value: message as Message<T> };
        if (!(await inbox.arrived())) return over;
      }
    },
    async return() {
      close();
      return over;
    },
    [Symbol.asyncIterator]: () => subscription,
    [Symbol.asyncDispose]: async () => close(),
    get dropped() {
      return inbox.dropped;
    },
    close,
  };
  signal?.addEventListener("abort", close, { once: true });
  return subscription;
}
