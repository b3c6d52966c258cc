/**
 * Waking: tells when this tab, or worker, ran again after it had stood still, so that it may have missed what others said.
 */
import { unref } from "./timers.js";

/** What is used of the host. */
export interface WakingHost {
  readonly document?: EventTarget & { readonly visibilityState?: string };
  addEventListener?(type: string, listener: (event: Event) => void): void;
  removeEventListener?(type: string, listener: (event: Event) => void): void;
  readonly Date: { now(): number };
  readonly performance: { now(): number };
}

/** How often the clocks are compared, in milliseconds. */
const LOOK_EVERY = 1_000;

/** By how much the clocks may part: the one of the wall goes on while the device sleeps, and is set at times. */
const MOST_DRIFT = 1_000;

/** A worker that was so long without a turn was frozen with its page, of which no event tells it. Pages have events, and slower timers. */
const MOST_GAP = 5_000;

/** Has `wake` called whenever the host has stood still; gives what ends that. */
export function onWake(wake: () => void, host: WakingHost): () => void {
  const drift = (): number => host.Date.now() - host.performance.now();
  let before = drift();
  let lookedAt = host.performance.now();
  const look = (): void => {
    const [now, at] = [drift(), host.performance.now()];
    const hasSlept = Math.abs(now - before) > MOST_DRIFT;
    const wasFrozen = host.document === undefined && at - lookedAt > MOST_GAP;
    [before, lookedAt] = [now, at];
    if (hasSlept || wasFrozen) wake();
  };
  const onShow = (event: Event): void => {
    if ((event as PageTransitionEvent).persisted) wake();
  };
  const onVisible = (): void => {
    if (host.document?.visibilityState === "visible") look();
  };
  const timer = setInterval(look, LOOK_EVERY);
  unref(timer);
  const { document } = host;
  document?.addEventListener("freeze", wake);
  document?.addEventListener("resume", wake);
  document?.addEventListener("visibilitychange", onVisible);
  host.addEventListener?.("pageshow", onShow);
  return () => {
    clearInterval(timer);
    document?.removeEventListener("freeze", wake);
    document?.removeEventListener("resume", wake);
    document?.removeEventListener("visibilitychange", onVisible);
    host.removeEventListener?.("pageshow", onShow);
  };
}
