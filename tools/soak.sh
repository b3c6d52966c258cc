#!/usr/bin/env bash
# Has all languages read, write and invalidate on one Redis for a while, and writes docs/soak.md.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python
need_node
need_redis

step "tools, in .tools/venv" venv venv tools/requirements-test.txt examples/fastapi/requirements.txt examples/fastapi/requirements-test.txt
step "packages, in wasm/node_modules" npm_packages wasm
step "the npm package, built from this checkout" node wasm/build.mjs
step "donjon for Python, built from this checkout" .tools/venv/bin/python -m pip install --quiet ./python
printf '\n'
.tools/venv/bin/python tests/history/soak.py --minutes "${MINUTES:-10}"
