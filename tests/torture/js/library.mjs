// What a library is to the scenarios: a few calls, each of which it may lack. The words of `../library.py`.
//
// An adapter is an object: `name`, `version`, `backends` (what it can be run on, and with which settings), `told` (for a backend that
// keeps values in the process in front of Redis: by whom it is told of changes, "redis" or "others"), and `open(backend, url, namespace)`,
// which gives a cache as one process has it: whichever of `get`, `set`, `load`, `delete`, `invalidatePattern`, `invalidateTag`, `clear`,
// `lock` and `unlock` it has, and `close`; `loadsCarryTags` is false where only `set` takes tags. Nothing is `undefined`; times are milliseconds.

/** The library has no call, or no backend, that the fault could be in. */
export class NoSuchThing extends Error {}

/** The fault is there; the text says what was seen. */
export class Fails extends Error {}

/** A server, and the processes of one scenario that use it by one library. */
export class World {
  /** Milliseconds in which word of a change has to arrive; what is promised is two seconds. */
  patience = 3_000;
  /** Rounds that went wrong, after which no more are needed. */
  enough = 10;
  #opened = [];

  constructor(library, backend, server, namespace) {
    Object.assign(this, { library, backend, server, namespace });
  }

  get isShared() {
    return this.server !== undefined;
  }

  /** By whom memory in front of Redis is told of changes; undefined where nobody tells it, or there is none. */
  get told() {
    return this.library.told?.[this.backend];
  }

  /** One more process, on the scenario's own namespace or another beside it. */
  async open(beside = "") {
    const cache = await this.library.open(this.backend, this.server?.url, this.namespace + beside);
    this.#opened.push(cache);
    return cache;
  }

  /** Two processes that share what they store. */
  async two() {
    if (!this.isShared) throw new NoSuchThing("nothing is shared between processes");
    return [await this.open(), await this.open()];
  }

  async close() {
    for (const cache of this.#opened) await cache.close();
  }
}

/** Whether it comes to hold within so many milliseconds. */
export async function until(holds, limit) {
  const deadline = performance.now() + limit;
  while (!(await holds())) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
}
