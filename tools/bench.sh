#!/usr/bin/env bash
# Times Python in memory, and Python and Rust over a Redis of its own, beside what else there is, in interleaved rounds.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_python
command -v redis-server >/dev/null || missing "redis-server" "On Debian and Ubuntu: apt-get install redis-server"

step "the peers, in .tools/bench" venv bench bench/requirements.txt examples/fastapi/requirements.txt
step "donjon, built from this checkout (a minute or two at first)" .tools/bench/bin/python -m pip install --quiet ./python
printf '\n'
.tools/bench/bin/python -m bench.memory --rounds "${ROUNDS:-15}"
printf '\n'
.tools/bench/bin/python -m bench.redis --rounds "${ROUNDS:-7}"
printf '\n'
.tools/bench/bin/python -m bench.near --rounds "${ROUNDS:-3}"
printf '\n'
.tools/bench/bin/python -m bench.near_hit
printf '\n'
.tools/bench/bin/python -m bench.fastapi_route --rounds "${ROUNDS:-5}"
step "Rust over Redis, built from this checkout" cargo bench --quiet -p donjon --bench redis_get -- "${ROUNDS:-15}"
