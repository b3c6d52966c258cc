#!/usr/bin/env bash
# Removes what the other commands built and installed, and nothing that git knows.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

step "builds and tools" rm -rf target .tools demo .mypy_cache .ruff_cache .pytest_cache
step "caches" git clean -fdXq -e '!.venv' -- python examples bench tests tools docs core wasm
summary "clean"
