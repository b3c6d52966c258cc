"""What does a cache in Redis cost a Python program, a call?

Starts a redis-server of its own on the loopback, without persistence. In each round every client runs everything once, in a
fresh process on uvloop and on an empty server, in changing order. Within a process, gets and their forms for many keys run in
several slices, of which the median counts: one is too short to outlast what else the machine does. A bystander pings while the
server is idle and while keys are swept, and only then, since it takes a share of the processors from whoever runs beside it. A
figure is the median over rounds; a ratio is the median of the ratios within rounds, so that what slows the machine for a while
slows both sides.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .clients import CLIENTS
from .report import Found, report

HERE = Path(__file__).parents[2]


@contextmanager
def server() -> Iterator[int]:
    """A redis-server on a free port, ended with the block."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("the benchmark needs redis-server.\n  On Debian and Ubuntu: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()


def emptied(port: int) -> str:
    """Empties the server; says its version."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"FLUSHALL\r\nINFO server\r\n")
        text = b""
        while b"\r\nredis_version:" not in text:
            text += connection.recv(65536)
    return text.split(b"redis_version:")[1].split(b"\r\n")[0].decode()


def timed(name: str, port: int) -> dict[str, Any]:
    """What one process found of one client."""
    work = [sys.executable, "-m", "bench.redis.work", name, str(port)]
    done = subprocess.run(work, cwd=HERE, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(names: list[str], rounds: int) -> tuple[Found, str]:
    """The figures by client and round, and the server's version."""
    found: Found = {name: [] for name in names}
    with server() as port:
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                redis = emptied(port)
                found[name].append(timed(name, port))
                print(f"\rround {turn + 1} of {rounds}: {name:20}", end="", file=sys.stderr, flush=True)
    print(f"\r{'':60}\r", end="", file=sys.stderr)
    return found, redis


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.redis", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="processes of each client (default: 7)")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS), help="who runs (default: all)")
    options = parser.parse_args()
    report(*measure(options.clients, options.rounds), options.rounds)


if __name__ == "__main__":
    main()
