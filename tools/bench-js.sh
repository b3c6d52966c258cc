#!/usr/bin/env bash
# Times JavaScript in memory and over a Redis of its own beside what else there is, in interleaved rounds.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_rust
need_node
command -v redis-server >/dev/null || command -v valkey-server >/dev/null ||
    missing "redis-server" "On Debian and Ubuntu: apt-get install redis-server"

packages() { # FOLDER
    (cd "$1" && npm ci --silent)
}

package_build() {
    (cd wasm && node build.mjs)
}

step "what builds the package, in wasm/node_modules" packages wasm
step "the package, built from this checkout" package_build
step "the peers, in bench/js/node_modules" packages bench/js
printf '\n'
node bench/js/main.mjs --rounds "${ROUNDS:-15}" --keys "${KEYS:-1000}"
