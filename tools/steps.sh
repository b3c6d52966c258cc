# shellcheck shell=bash
# Sourced by the scripts beside it: steps that say what they do and how long they took, and what a machine must have.
# Puts the caller into the top of the checkout.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
done_steps=()

# step TITLE COMMAND…: runs the command with its output visible; the first that fails ends the script.
step() {
    local title=$1 from=$SECONDS status=0
    shift
    printf '\n== %s\n' "$title"
    "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        printf '\nFAILED after %d s: %s\n  %s\n' $((SECONDS - from)) "$title" "$*" >&2
        exit "$status"
    fi
    done_steps+=("$(printf '%6d s  %s' $((SECONDS - from)) "$title")")
    printf '   done in %d s\n' $((SECONDS - from))
}

# What was done, and how long each part took.
summary() {
    printf '\n== %s, in %d s\n' "$1" "$SECONDS"
    printf '%s\n' "${done_steps[@]}"
}

missing() {
    printf 'donjon needs %s.\n  %s\n' "$1" "$2" >&2
    exit 1
}

need_rust() {
    command -v cargo >/dev/null || missing "Rust (cargo)" "Install it from https://rustup.rs, or with your system's packages."
    command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
        missing "a C compiler (Rust links by it)" "On Debian and Ubuntu: apt-get install build-essential"
    local have want
    have=$(rustc --version | cut -d' ' -f2)
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    [ "$(printf '%s\n%s\n' "$want" "${have%%-*}" | sort -V | head -n 1)" = "$want" ] ||
        missing "Rust $want or newer (here is $have)" "Run: rustup update stable"
}

need_rust_component() { # COMPONENT COMMAND
    "${@:2}" --version >/dev/null 2>&1 || missing "$1" "Run: rustup component add $1"
}

need_python() {
    command -v "$python" >/dev/null || missing "Python ($python)" "Install Python 3.10 or newer, or name one: make … PYTHON=python3.12"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        missing "Python 3.10 or newer (here is $("$python" -V))" "Name another: make … PYTHON=python3.12"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        missing "Python's venv module" "On Debian and Ubuntu: apt-get install python3-venv"
}

need_node() {
    command -v node >/dev/null || missing "Node 20 or newer" "Install it from https://nodejs.org, or with your system's packages."
    node -e 'process.exit(Number.parseInt(process.versions.node) < 20 ? 1 : 0)' ||
        missing "Node 20 or newer (here is $(node --version))" "Install it from https://nodejs.org, or with your system's packages."
    command -v npm >/dev/null || missing "npm" "It comes with Node from https://nodejs.org; on Debian and Ubuntu: apt-get install npm"
}

# as_root COMMAND…: runs it as root where that needs no password; fails where it does.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# debian TITLE SCRIPT: installs Debian's packages by a script, where we may.
debian() {
    if command -v apt-get >/dev/null && as_root true 2>/dev/null; then step "$1" as_root bash "$2"; fi
}

# The tests start servers of their own. Where there is none and we may, Debian's package is installed, its service left off.
need_redis() {
    if [ -n "${REDIS_SERVER:-}" ]; then
        command -v "$REDIS_SERVER" >/dev/null || missing "the Redis server that REDIS_SERVER names" "There is no $REDIS_SERVER."
        return
    fi
    command -v redis-server >/dev/null || command -v valkey-server >/dev/null && return
    debian "Debian's redis-server is installed" tools/install-redis.sh
    command -v redis-server >/dev/null ||
        missing "a Redis or Valkey server, for its tests" "On Debian and Ubuntu: apt-get install redis-server. Or name one: REDIS_SERVER=/path/to/redis-server"
}

# The npm package is tested in it. CHROMIUM says where it is.
need_chromium() {
    local want=${CHROMIUM:-chromium}
    command -v "$want" >/dev/null || [ -n "${CHROMIUM:-}" ] || debian "Debian's chromium is installed" tools/install-chromium.sh
    CHROMIUM=$(command -v "$want") ||
        missing "Chromium, for its tests (there is no $want)" "On Debian and Ubuntu: apt-get install chromium. Or name one: CHROMIUM=/path/to/chromium"
    export CHROMIUM
}

# cargo_tool NAME VERSION: sees to it that cargo has a command in .tools/rust. Built fast, as it waits for others only.
cargo_tool() {
    export PATH=$PWD/.tools/rust/bin:$PATH
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --root .tools/rust "$1@$2"
}

# venv NAME REQUIREMENTS…: sees to it that .tools/NAME has what the files list; at once where it does already.
venv() {
    local folder=.tools/$1 have want
    shift
    want=$("$python" -c 'import sys; print(sys.version)'; cat "$@")
    have=$(cat "$folder/holds.txt" 2>/dev/null || true)
    [ "$have" = "$want" ] && return
    rm -rf "$folder" && "$python" -m venv "$folder" || return
    local file
    for file in "$@"; do set -- "$@" -r "$file" && shift; done
    "$folder/bin/python" -m pip install --quiet "$@" && printf '%s\n' "$want" >"$folder/holds.txt"
}

# npm_packages FOLDER: sees to it that it has the packages of its package-lock.json; at once where it does already.
npm_packages() {
    local holds=$1/node_modules/holds.txt have want
    want=$(node --version; cat "$1/package-lock.json")
    have=$(cat "$holds" 2>/dev/null || true)
    [ "$have" = "$want" ] && return
    npm ci --prefix "$1" --no-audit --no-fund --loglevel=error && printf '%s\n' "$want" >"$holds"
}
