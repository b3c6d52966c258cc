/** The entry for Cloudflare's workerd, which compiles no module at run time: it is given one by an import. */
import module from "./core.wasm";
import { provideModule } from "./core.js";

provideModule(() => module);

export * from "./index.js";
