#!/usr/bin/env bash
# Formats, lints, types: what a machine can say of the code without running it.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_rust_component rustfmt cargo fmt
need_rust_component clippy cargo clippy
need_python
need_node

step "tools for the checks, in .tools/venv" venv venv tools/requirements-test.txt examples/fastapi/requirements.txt \
    examples/fastapi/requirements-test.txt
step "packages for the checks, in wasm/node_modules" npm_packages wasm
source tools/lint-steps.sh
summary "clean"
