#!/usr/bin/env bash
# Breaks what the core decides in every way that cargo-mutants knows, one at a time, sees whether the core's own tests notice, and writes
# docs/mutants.md. An hour and a half beside other work.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python

# mutants PART TESTS…: breaks one part, in a tree of its own.
mutants() {
    local part=$1 status=0
    shift
    mkdir -p "target/mutants/$part"
    env -u CARGO_TARGET_DIR RUST_BACKTRACE=0 cargo mutants --package donjon-core --output "target/mutants/$part" --jobs "${JOBS:-1}" --no-shuffle \
        --file "core/src/$part*.rs" --file "core/src/$part/*.rs" "$@" || status=$?
    # 2: some were not noticed. 3: some ran into the limit of time, which counts as noticed.
    [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || [ "$status" -eq 3 ]
}

step "cargo-mutants, in .tools/rust (some minutes at first)" cargo_tool cargo-mutants 27.1.0
rm -rf target/mutants
parts=(envelope expiry flight pattern policy)
for part in "${parts[@]}"; do
    # What does a million things takes its time where nothing is optimised, and finds nothing here that the rest does not.
    step "$part against its own tests" mutants "$part" --cargo-arg=--lib -- -- "$part" --skip work::
    # What never ends is noticed by that, and would take its time once more.
    cat "target/mutants/$part/mutants.out/timeout.txt" >>"target/mutants/$part/mutants.out/previously_caught.txt"
    step "what these did not notice of $part, against all tests of the core" mutants "$part" --iterate --profile test
done
"$python" tools/mutants.py target/mutants
summary "docs/mutants.md is written"
