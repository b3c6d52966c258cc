#!/usr/bin/env bash
# Measures which lines the tests run in each language, and writes docs/coverage.md. Tests that fail do not end it: what they ran is
# measured all the same, the page says so, and so does how it ends.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_rust_component llvm-tools "$(rustc --print target-libdir)/../bin/llvm-cov"
need_python
need_node
need_redis
need_chromium

built=${CARGO_TARGET_DIR:-$PWD/target}
found=$built/coverage/found
export COVERAGE_RCFILE=$PWD/tools/coverage.ini COVERAGE_FILE=$found/python/data

failed=()

# tests TITLE COMMAND…: a step that goes on where tests fail, and keeps their title.
tests() {
    step "$1" noted "$@"
}

noted() {
    "${@:2}" || failed+=("$1")
}

javascript_tests() {
    .tools/mcr/node_modules/.bin/mcr --reports lcovonly --outputDir "$found/javascript" --baseDir "$PWD" \
        --entryFilter '**/wasm/dist{,-trap}/*.js' --sourceFilter '**/ts/**' -- \
        node --test --test-reporter=dot wasm/test/{docs,steady,trap,value}.test.js wasm/test/hosts/node.test.js wasm/test/*.test.mjs \
        wasm/test/{redis,upstash}/*.test.mjs tests/torture/js/*.test.mjs
}

# From here on all that cargo builds says when it ends what of it ran, also the extension within Python.
measure_rust() {
    export CARGO_TARGET_DIR=$built/coverage
    # shellcheck disable=SC1090
    source <(cargo llvm-cov show-env --sh) && cargo llvm-cov clean --workspace
}

rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --exclude donjon-python --no-fail-fast --status-level slow
    else
        cargo test --workspace --exclude donjon-python --lib --bins --tests --no-fail-fast
    fi
}

# As the tests are built, what they depend on with them; by the profile of tests itself cargo would make a test of it.
python_build() {
    env VIRTUAL_ENV="$PWD/.tools/coverage" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only \
        .tools/coverage/bin/maturin develop --quiet --manifest-path python/Cargo.toml
}

python_tests() { # FOLDER
    (cd "$1" && "$OLDPWD/.tools/coverage/bin/python" -m coverage run -m pytest --quiet)
}

python_report() {
    .tools/coverage/bin/python -m coverage combine --quiet "$found/python" &&
        .tools/coverage/bin/python -m coverage lcov --quiet -o "$found/python/lcov.info"
}

# Who was killed at work leaves an unfinished record behind.
rust_report() {
    cargo llvm-cov report --failure-mode all --lcov --output-path "$found/rust/lcov.info"
}

rm -rf "$found" && mkdir -p "$found"/{rust,python,javascript}
step "what measures Rust, in .tools/rust (some minutes at first)" cargo_tool cargo-llvm-cov 0.9.1
step "what measures Python, in .tools/coverage" venv coverage tools/requirements-test.txt tools/requirements-coverage.txt \
    examples/fastapi/requirements.txt examples/fastapi/requirements-test.txt
step "what measures JavaScript, in .tools/mcr" npm install --prefix .tools/mcr --no-audit --no-fund --loglevel=error \
    monocart-coverage-reports@2.13.0
step "packages for the tests, in wasm/node_modules" npm_packages wasm
step "a core that traps when told to is built" node wasm/build.mjs --trap --maps
step "the npm package is built, with maps to its source" node wasm/build.mjs --maps
tests "JavaScript tests" javascript_tests
step "Rust is measured from here on" measure_rust
tests "Rust tests" rust_tests
step "the Python package is built and installed" python_build
for folder in python tests/torture examples/fastapi tests/history; do
    tests "Python tests in $folder" python_tests "$folder"
done
step "what ran of Python" python_report
step "what ran of Rust" rust_report
printf '\n'
.tools/coverage/bin/python tools/coverage.py "$found" ${failed[@]+"${failed[@]}"}
summary "docs/coverage.md is written"
if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED meanwhile: %s\n' "${failed[@]}" >&2
    exit 1
fi
