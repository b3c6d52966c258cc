#!/usr/bin/env bash
# The guide's application, from a machine with Rust and Python to an address to open.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python

export CARGO_TERM_QUIET=true
step "what the application needs, in .tools/demo" venv demo examples/fastapi/requirements.txt
step "donjon, built from this checkout (a minute or two at first)" \
    .tools/demo/bin/python -m pip install --quiet "./python[sqlalchemy]"
printf '\n== the application\n'
exec .tools/demo/bin/python examples/fastapi/demo.py --port "${PORT:-8000}" ${DOCS:+--docs "$DOCS"}
