/** Kit: what tests of stores are written with. */

/** Waits until a condition holds, for ten seconds at most. */
export async function until(holds, what = "what was awaited") {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A promise, and what settles it. */
export function gate() {
  let open, fail;
  const opened = new Promise((resolve, reject) => ([open, fail] = [resolve, reject]));
  return { opened, open, fail };
}

/** The keys that match, in order. */
export async function listed(cache, pattern) {
  const keys = [];
  for await (const key of cache.keys(pattern)) keys.push(key);
  return keys.sort();
}
