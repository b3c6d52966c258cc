/** Log: what this process did and when, a line each, in the form that `history.py` describes. */
import { openSync, writeSync } from "node:fs";

export const OK = "ok";
export const QUEUED = "queued";
export const FAILED = "failed";

/** Nanoseconds of the monotonic clock that all processes of a machine share. */
export const now = () => process.hrtime.bigint();

export class Log {
  #file;

  constructor(path) {
    this.#file = openSync(path, "a", 0o600);
  }

  /** A read that yielded a version. */
  read(begun, ended, key, version, way) {
    this.#say(`["r",${begun},${ended},"${key}",${version},"${way}"]`);
  }

  /** An invalidation that came to an end. */
  invalidation(begun, ended, target, outcome, versions) {
    this.#say(`["i",${begun},${ended},${JSON.stringify(target)},"${outcome}",${JSON.stringify(versions)}]`);
  }

  /** The counters of the cache as they are now. */
  counters(counters) {
    this.#say(`["s",${now()},${JSON.stringify(counters)}]`);
  }

  /** A call that failed though it may not. */
  fault(way, error) {
    this.#say(`["f",${now()},"${way}",${JSON.stringify(String(error))}]`);
  }

  /** Bytes that are alive in this process. */
  alive(bytes) {
    this.#say(`["a",${now()},${bytes}]`);
  }

  #say(line) {
    writeSync(this.#file, `${line}\n`);
  }
}
