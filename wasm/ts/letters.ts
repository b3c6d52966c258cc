/** Letters: a module as an entry holds it that needs no file, so that it bundles anywhere. */
import { inflateSync } from "fflate";

/** The module that was packed into letters. */
export function unpacked(letters: string): WebAssembly.Module {
  const packed = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
  return new WebAssembly.Module(inflateSync(packed) as Uint8Array<ArrayBuffer>);
}
