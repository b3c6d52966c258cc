#!/usr/bin/env bash
# Replays a folder of recorded requests through donjon's policy and through other caches, and says what each could answer.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

[ -n "${TRACES:-}" ] || missing "a folder of traces" "Name one: make hit-ratio TRACES=folder. docs/hit-ratio.md says where there are some, and what they look like."
[ -d "$TRACES" ] || missing "a folder of traces" "There is no folder $TRACES."
need_rust
step "the peers, built into target/bench-store (some minutes at first)" \
    cargo build --quiet --release --manifest-path bench/store/Cargo.toml --target-dir target/bench-store
printf '\n'
target/bench-store/release/donjon-bench-store hit-ratio "$TRACES" target/hit-ratio
printf '\nThe same is in target/hit-ratio/hit-ratio.md, and drawn in target/hit-ratio/hit-ratio.svg\n'
