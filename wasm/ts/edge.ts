/** The entry for hosts that take a module by an import that says so. */
import module from "./core.wasm?module";
import { provideModule } from "./core.js";

provideModule(() => module);

export * from "./index.js";
