#!/usr/bin/env bash
# Run as root: installs Debian's chromium, in which the npm package is tested.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
wait=(-o DPkg::Lock::Timeout=120)
apt-get "${wait[@]}" update --quiet=2
apt-get "${wait[@]}" install --quiet=2 --yes --no-install-recommends chromium >/dev/null
