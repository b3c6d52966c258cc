#!/usr/bin/env bash
# Times the memory store beside other caches in one program, in interleaved rounds, and weighs a million entries of each.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
step "the peers, built into target/bench-store (some minutes at first)" \
    cargo build --quiet --release --manifest-path bench/store/Cargo.toml --target-dir target/bench-store
printf '\n'
target/bench-store/release/donjon-bench-store speed "${ROUNDS:-7}"
printf '\n'
target/bench-store/release/donjon-bench-store memory
