# shellcheck shell=bash
# Sourced by lint.sh and test.sh, once the tools are in .tools/venv.

step "Rust is formatted" cargo fmt --all --check
step "Rust has no lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
step "Rust documentation has no broken links" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
step "imports run downward" "$python" tools/floors.py
step "Python is formatted" .tools/venv/bin/ruff format --check
step "Python has no lints" .tools/venv/bin/ruff check
step "Python's types hold" .tools/venv/bin/mypy
