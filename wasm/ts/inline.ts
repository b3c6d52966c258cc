/** The entry for Node, Deno, Bun and browsers: the core's module is within it, so that it needs no file and bundles anywhere. */
import base64 from "core:base64";
import { provideModule } from "./core.js";

provideModule(() => new WebAssembly.Module(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))));

export * from "./index.js";
