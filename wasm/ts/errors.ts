/**
 * What can go wrong, and what to do about it. Every error of this package is a {@link DonjonError}; what a loader throws reaches
 * its callers as it is.
 *
 * ```text
 * DonjonError
 * ├── InvalidKeyError        the key or a part of it
 * ├── InvalidPatternError    the pattern
 * ├── InvalidTtlError        a time to live, a grace, a class of them
 * ├── InvalidTagError        a tag, or too many of them
 * ├── InvalidRuleError       a rule, or an event that lacks what its rules name
 * ├── ConfigError            an option of the cache
 * ├── UnsupportedValueError  a value without a JSON form
 * ├── ValueTooLargeError     `strict`: the value is over `maxValueBytes`
 * ├── NotACounterError       `incr` on what is no integer
 * ├── LockTimeoutError       the lock was not free in time
 * ├── LockLostError          the lock is another's by now
 * ├── BackendUnavailableError  `strict`: the backend could not be told to store, or to lock
 * ├── InvalidationQueuedError  `strict`: an invalidation waits to be sent
 * ├── UnsupportedOperationError  the store behind the cache cannot do this
 * └── CacheClosedError       the cache was closed
 * ```
 */
export class DonjonError extends Error {
  static override readonly name: string = "DonjonError";
  override name = this.constructor.name;
}

/** The key, or a part of one, is none: it is empty, over 1 KiB, or no well-formed text. */
export class InvalidKeyError extends DonjonError {
  static override readonly name: string = "InvalidKeyError";
}

/** The pattern is none that is sent anywhere. */
export class InvalidPatternError extends DonjonError {
  static override readonly name: string = "InvalidPatternError";
}

/** A time to live or a grace is out of range or cannot be read, or there is no such class. Nothing was stored. */
export class InvalidTtlError extends DonjonError {
  static override readonly name: string = "InvalidTtlError";
}

/** A tag is empty, too long or reserved, or there are too many. */
export class InvalidTagError extends DonjonError {
  static override readonly name: string = "InvalidTagError";
}

/** A rule cannot be read, or an event lacks what one of its rules names. Nothing was invalidated. */
export class InvalidRuleError extends DonjonError {
  static override readonly name: string = "InvalidRuleError";
}

/** An option of the cache is none. */
export class ConfigError extends DonjonError {
  static override readonly name: string = "ConfigError";
}

/** The value has no JSON form that reads back as it was. Nothing was stored. */
export class UnsupportedValueError extends DonjonError {
  static override readonly name: string = "UnsupportedValueError";
}

/** The cache is strict, and the value is over the store's `maxValueBytes`: it was not stored, and its key is invalidated. */
export class ValueTooLargeError extends DonjonError {
  static override readonly name: string = "ValueTooLargeError";
}

/** `incr` met a value that is no integer, or the sum is none that a number can hold. */
export class NotACounterError extends DonjonError {
  static override readonly name: string = "NotACounterError";
}

/** The lock was not free within the time that the caller would wait. */
export class LockTimeoutError extends DonjonError {
  static override readonly name: string = "LockTimeoutError";
}

/** The lock is not this holder's any more: its time ran out. */
export class LockLostError extends DonjonError {
  static override readonly name: string = "LockLostError";
}

/** The backend could not be asked, and the cache is strict, or it was asked for what only the backend can give. */
export class BackendUnavailableError extends DonjonError {
  static override readonly name: string = "BackendUnavailableError";
}

/** The cache is strict, and an invalidation could not be sent: it waits, and is sent before this process reads again. */
export class InvalidationQueuedError extends DonjonError {
  static override readonly name: string = "InvalidationQueuedError";
}

/** The store behind this cache cannot do what was asked: see its `capabilities`. */
export class UnsupportedOperationError extends DonjonError {
  static override readonly name: string = "UnsupportedOperationError";
}

/** The cache was closed. */
export class CacheClosedError extends DonjonError {
  static override readonly name: string = "CacheClosedError";
}

/** The errors that the core refuses a call with, by its numbers. */
export const REFUSALS: readonly (new (message: string) => DonjonError)[] = [
  DonjonError,
  InvalidKeyError,
  InvalidPatternError,
  InvalidTtlError,
  InvalidTagError,
  InvalidRuleError,
  ConfigError,
  BackendUnavailableError,
];
