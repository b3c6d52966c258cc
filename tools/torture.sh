#!/usr/bin/env bash
# Puts donjon and what else there is under the faults that caches ship with, and writes docs/torture.md.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python
need_node
need_redis

step "the peers in Python, in .tools/torture" venv torture tests/torture/requirements.txt
step "the peers in JavaScript, in tests/torture/js/node_modules" npm_packages tests/torture/js
step "what builds the npm package, in wasm/node_modules" npm_packages wasm
step "the npm package, built from this checkout" node wasm/build.mjs
step "donjon for Python, built from this checkout" .tools/torture/bin/python -m pip install --quiet ./python
printf '\n'
.tools/torture/bin/python tests/torture/matrix.py
