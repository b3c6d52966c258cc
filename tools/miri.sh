#!/usr/bin/env bash
# Runs the tests of the memory store and of what it is made of under Miri, an interpreter that finds undefined behaviour, also that of
# dependencies.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
cargo +nightly miri --version >/dev/null 2>&1 ||
    missing "a nightly Rust with Miri" "Run: rustup toolchain install nightly --component miri --component rust-src"
# A step takes a thousand times as long there: what fills whole caches is left out. So are the tests in which threads sleep, as parking_lot
# calls the kernel in a way that Miri takes for a fault, and those whose values hold the cache that holds them, which is a leak.
step "rows, their index, their lock and the policy under Miri (some minutes)" cargo +nightly miri test --quiet -p donjon-core --lib -- \
    index inline sync policy::order policy::queue policy::share policy::sketch blocks::tests::growth
step "the store under Miri (some minutes)" cargo +nightly miri test --quiet -p donjon-core --test cache -- flights hosted
summary "Miri"
