/**
 * The entry for those who load the core's module themselves: to stream it, or to keep it out of the script. The entries of stores bring
 * theirs along.
 */
import { MEMORY } from "./core.js";

export * from "./index.js";

/**
 * Starts from a compiled module or its bytes, at once.
 *
 * Browsers compile only so much at once on the main thread: there, use {@link init}.
 */
export function initSync(source: WebAssembly.Module | BufferSource): void {
  const module = source instanceof WebAssembly.Module ? source : new WebAssembly.Module(source);
  MEMORY.comesFrom(() => module);
}

/** Starts from a module, its bytes, a response, or the address of `donjon/core.wasm`. */
export async function init(source: WebAssembly.Module | BufferSource | Response | URL | string | Promise<Response>): Promise<void> {
  const given: unknown = await (typeof source === "string" || source instanceof URL ? fetch(source) : source);
  if (given instanceof WebAssembly.Module) return initSync(given);
  if (!(given instanceof Response)) return initSync(await WebAssembly.compile(given as BufferSource));
  if (!given.ok) throw new Error(`the core could not be fetched: status ${given.status}`);
  initSync(await WebAssembly.compile(await given.arrayBuffer()));
}
