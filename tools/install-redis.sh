#!/usr/bin/env bash
# Run as root: installs Debian's redis-server, and leaves no server running or to be started: the tests start their own.
set -euo pipefail

# What asks this file before a service is started, which is all of Debian's packages, hears no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
wait=(-o DPkg::Lock::Timeout=120)
apt-get "${wait[@]}" update --quiet=2
apt-get "${wait[@]}" install --quiet=2 --yes --no-install-recommends redis-server >/dev/null

# The folder is there where systemd runs, as systemctl may be also where it does not.
if [ -d /run/systemd/system ]; then systemctl disable --quiet --now redis-server.service; fi
