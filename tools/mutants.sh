#!/usr/bin/env bash
# Breaks what the core decides in every way that cargo-mutants knows, one at a time, sees whether the core's own tests notice, and writes
# docs/mutants.md. About two hours on a machine that does nothing else.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python

# So that a tree of its own is broken and built, and none of ours.
mutants() {
    local status=0
    env -u CARGO_TARGET_DIR cargo mutants --package donjon-core --output target --jobs "${JOBS:-1}" --no-shuffle "$@" || status=$?
    # 2: some were not noticed. 3: some ran into the limit of time, which counts as noticed.
    [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || [ "$status" -eq 3 ]
}

step "cargo-mutants, in .tools/rust (some minutes at first)" cargo_tool cargo-mutants 27.1.0
rm -rf target/mutants.out target/mutants.out.old
step "against the unit tests of what is broken" mutants --cargo-arg=--lib -- -- envelope:: expiry:: flight pattern:: policy::
step "what these did not notice, against all tests of the core" mutants --iterate --profile test
"$python" tools/mutants.py target/mutants.out.old target/mutants.out
