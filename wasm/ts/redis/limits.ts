/**
 * Limits: what users may say of how a tier over a store waits, and what it takes. Apart, so that what they are told of it leads nowhere else.
 */

/** How a tier over Redis waits, and what it takes. */
export interface Limits {
  /** Milliseconds that a command may wait while nothing moves on the connection. Default: 100. */
  readonly commandTimeout?: number | undefined;
  /** Milliseconds until a connection has to be there. Default: 250. */
  readonly connectTimeout?: number | undefined;
  /** A larger value is not stored, and what is under its key is invalidated. Default: 16 MiB. */
  readonly maxValueBytes?: number | undefined;
}
