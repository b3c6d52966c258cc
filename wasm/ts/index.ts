/**
 * donjon: a cache that never serves what was invalidated.
 *
 * What is exported here is the same for every host; the entries `inline`, `workerd`, `edge` and `slim` differ in where the core's
 * module comes from.
 */
export {
  Cache,
  type CacheOptions,
  type LoadOptions,
  type Mode,
  type ReadOptions,
  type Removed,
  type Store,
  type SubscribeOptions,
  type TierTerms,
  createCache,
} from "./cache.js";
export type { Capabilities } from "./capabilities.js";
export { type Clock, ManualClock } from "./clock.js";
export * from "./errors.js";
export { ANY, type KeyPart, escapePattern, key, matches, pattern } from "./keys.js";
export type { LoadContext, Loader } from "./load.js";
export type { Lock, LockOptions } from "./lock.js";
export type { Hit, Lookup, LookupMiss } from "./lookup.js";
export type { CopyMode } from "./memory.js";
export type { RuleTargets, Rules } from "./rules.js";
export type { Message, Subscription } from "./subscription.js";
export { FOREVER, type StoreOptions, type Ttl } from "./terms.js";
export type { Coherence, CoherenceFacts, Explained, Stats } from "./tier.js";
export type { WarmOptions, WarmReport } from "./warm.js";
export type { Wrapped, WrapOptions } from "./wrap.js";
