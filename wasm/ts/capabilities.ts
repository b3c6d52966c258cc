/**
 * Capabilities: what a cache can promise and do, by where its values are.
 */

/** What a cache can promise and do where its values are. What is false is refused with an {@link UnsupportedOperationError}. */
export interface Capabilities {
  /**
   * How far an invalidation reaches at once, and one load is shared: among all who use the store, or within this process, others
   * following when the store lets them.
   */
  readonly reach: "all" | "process";
  /** `lock` */
  readonly locks: boolean;
  /** `add`, `incr` and `touch`: what depends on what is there. */
  readonly conditions: boolean;
  /** `tags` and `invalidateTags` */
  readonly tags: boolean;
  /** `publish` and `subscribe` */
  readonly messages: boolean;
}

/** What those can do who share a store that takes conditions. */
export const SHARED: Capabilities = { reach: "all", locks: true, conditions: true, tags: true, messages: true };
