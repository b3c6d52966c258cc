/**
 * Seed: the secret that a core hashes keys and names leases by.
 *
 * A host may give no randomness where a program is only set up, outside of a request at the edge. A cache may be made there all the same:
 * its core has no seed then, and is replaced by one that has before anything is stored, loaded or asked of a store.
 */

/** A seed; `undefined` where the host gives none here. */
export function drawSeed(): Uint8Array | undefined {
  try {
    return crypto.getRandomValues(new Uint8Array(SEED_BYTES));
  } catch {
    return undefined;
  }
}

const SEED_BYTES = 16;

/** What a core starts from that has no seed yet. */
export const NO_SEED: Uint8Array = new Uint8Array(SEED_BYTES);

/** Says that a cache was used where there is none. */
export class NoSeedError extends Error {
  constructor() {
    super("this host gives no randomness here: use the cache within a request, where keys can be hashed by a secret");
  }
}
