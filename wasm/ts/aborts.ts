/**
 * Aborts: a caller that waits, and may go away before what it waits for is there.
 */

/**
 * What comes of `work`, or the reason why nobody waits for it any more, which `left` is told at once. The work goes on; how it ends
 * then, nobody hears.
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, left?: (reason: unknown) => void): Promise<T> {
  if (signal === undefined) return work;
  let abort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => {
      left?.(signal.reason);
      reject(signal.reason as Error);
    };
  });
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
