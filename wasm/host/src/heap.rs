//! Heap: who hands out the module's memory. talc takes a quarter of the room that the standard library's dlmalloc does.

#[cfg(target_family = "wasm")]
#[global_allocator]
static HEAP: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
