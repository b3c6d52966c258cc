#!/usr/bin/env bash
# Times the memory store beside other caches in one program, with ordinary keys and such as were chosen to collide, and while a million
# entries leave; weighs a million entries of each.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
step "the peers, built into target/bench-store (some minutes at first)" \
    cargo build --quiet --release --manifest-path bench/store/Cargo.toml --target-dir target/bench-store
printf '\n'
target/bench-store/release/donjon-bench-store speed "${ROUNDS:-7}"
for what in collisions expiry memory; do
    printf '\n'
    target/bench-store/release/donjon-bench-store "$what"
done
