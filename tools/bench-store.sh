#!/usr/bin/env bash
# Times the memory store beside other caches, with ordinary keys and such as were chosen to collide, and while a million entries leave;
# weighs a million entries of each.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT

# Where functions lie in memory changes what code takes. Each program has them at multiples of another power of two.
for power in 4 5 6 7 8; do
    built=target/bench-store/$power
    RUSTFLAGS="-C llvm-args=-align-all-functions=$power" step "the peers, built into $built (some minutes at first)" \
        cargo build --quiet --release --manifest-path bench/store/Cargo.toml --target-dir "$built"
    "$built/release/donjon-bench-store" figures "${ROUNDS:-3}" | tee -a "$figures"
done

printf '\n'
"$built/release/donjon-bench-store" tables <"$figures"
for what in sweeps collisions expiry memory; do
    printf '\n'
    "$built/release/donjon-bench-store" "$what"
done
