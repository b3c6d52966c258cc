# shellcheck shell=bash
# Sourced by lint.sh and test.sh, once the tools are in .tools/venv and wasm/node_modules.

# Against the package's sources, since it need not be installed for this.
example_types() {
    (cd examples/fastapi && MYPYPATH=../../python/python "$OLDPWD/.tools/venv/bin/mypy" --cache-dir "$OLDPWD/.tools/mypy")
}

step "Rust is formatted" cargo fmt --all --check
step "the bench of the store is formatted" cargo fmt --manifest-path bench/store/Cargo.toml --check
step "Rust has no lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
step "Rust documentation has no broken links" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
step "imports run downward" "$python" tools/floors.py
step "Python is formatted" .tools/venv/bin/ruff format --check
step "Python has no lints" .tools/venv/bin/ruff check
step "Python's types hold" .tools/venv/bin/mypy
step "the example's types hold" example_types
step "JavaScript is formatted and has no lints" wasm/node_modules/.bin/biome check --error-on-warnings
step "TypeScript's types hold" wasm/node_modules/.bin/tsc --project wasm --noEmit
