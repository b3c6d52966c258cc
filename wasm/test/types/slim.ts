// What a program that loads the core itself looks like to the compiler. It is checked, and never run.

import { createCache, init, initSync } from "donjon/slim";

initSync(new Uint8Array());
initSync(new WebAssembly.Module(new Uint8Array()));
await init("/core.wasm");
await init(fetch(new URL("core.wasm", import.meta.url)));

// @ts-expect-error: there is nothing to start from
initSync();

export const cache = createCache();
