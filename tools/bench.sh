#!/usr/bin/env bash
# Times Python in memory beside a dict, cashews and aiocache, in one process, in interleaved rounds.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python

step "the peers, in .tools/bench" venv bench bench/requirements.txt
step "donjon, built from this checkout (a minute or two at first)" .tools/bench/bin/python -m pip install --quiet ./python
printf '\n'
exec .tools/bench/bin/python bench/memory.py --rounds "${ROUNDS:-15}"
