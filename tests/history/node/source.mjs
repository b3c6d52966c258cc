/** Source: the rows that every process loads from, a file a key, whose length is its version. A write appends one byte. */
import { fstatSync, mkdirSync, openSync, writeSync } from "node:fs";

export class Source {
  #rows;

  constructor(folder, keys) {
    mkdirSync(folder, { recursive: true });
    this.#rows = new Map(keys.map((key) => [key, openSync(`${folder}/${key}`, "a", 0o600)]));
  }

  /** What a query sees now. */
  version(key) {
    return fstatSync(this.#rows.get(key)).size;
  }

  /** Commits a new version. */
  write(key) {
    writeSync(this.#rows.get(key), ".");
  }
}
