/** The entry for Node, Deno, Bun and browsers: the core's module is within it, so that it needs no file and bundles anywhere. */
import letters from "core:letters";
import { inflateSync } from "fflate";
import { provideModule } from "./core.js";

provideModule(() => {
  const packed = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
  return new WebAssembly.Module(inflateSync(packed) as Uint8Array<ArrayBuffer>);
});

export * from "./index.js";
