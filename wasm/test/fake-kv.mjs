/**
 * A KV namespace that shows what was written only when it is told to, as Cloudflare's does after a minute or more.
 */
export class FakeKv {
  // Never replaced, but for `isLate`: `elsewhere` shares them.
  /** What was written, and what is shown, by name. */
  written = new Map();
  shown = new Map();
  /** What was asked, in order: `get app:k`. */
  log = [];
  options = new Map();
  isLate = false;
  /** Each is awaited before the operation of this name; what it throws, the operation throws. */
  before = {};

  /** The same KV by a binding of another process. */
  elsewhere() {
    return Object.create(this);
  }

  /** Shows what was written. */
  settle() {
    this.shown.clear();
    for (const [name, bytes] of this.written) this.shown.set(name, bytes);
  }

  async step(operation, name) {
    this.log.push(`${operation} ${name}`);
    await this.before[operation]?.(name);
  }

  async get(name, type) {
    if (type !== "arrayBuffer") throw new TypeError("bytes are asked for as bytes");
    await this.step("get", name);
    const bytes = this.shown.get(name);
    return bytes === undefined ? null : bytes.slice().buffer;
  }

  async put(name, value, options = {}) {
    const { expirationTtl } = options;
    if (expirationTtl !== undefined && !(Number.isInteger(expirationTtl) && expirationTtl >= 60)) {
      throw new Error(`KV PUT failed: 400 Invalid expiration_ttl of ${expirationTtl}. Expiration TTL must be at least 60.`);
    }
    if (new TextEncoder().encode(name).length > 512)
      throw new Error("KV PUT failed: 414 UTF-8 encoded length of key exceeds limit of 512.");
    await this.step("put", name);
    this.written.set(name, value.slice());
    this.options.set(name, options);
    if (!this.isLate) this.settle();
  }

  async delete(name) {
    await this.step("delete", name);
    this.written.delete(name);
    if (!this.isLate) this.settle();
  }

  /** In pages of two. */
  async list({ prefix, cursor = "" }) {
    await this.step("list", prefix);
    const names = [...this.shown.keys()].filter((name) => name.startsWith(prefix) && name > cursor).sort();
    const page = names.slice(0, 2);
    const isLast = page.length === names.length;
    return { keys: page.map((name) => ({ name })), list_complete: isLast, ...(isLast ? {} : { cursor: page.at(-1) }) };
  }
}
