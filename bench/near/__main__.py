"""How long does a cache in memory in front of Redis serve what somebody else has changed?

Starts a redis-server of its own on the loopback, without persistence. In each round every client has several reader processes;
a writer that is no cache writes numbers, and an answer counts as stale by as much as it was asked for after the write had been
confirmed. Then the server is killed and started again, another number is written at once, and the same is asked. At last, what
it costs the server to tell of changes: processor time a write with no, and with many connections that have read the key.

REDIS_SERVER names another server; redis-py's cache needs one of 7.4 or newer and is left out over an older one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.machine import machine

from .clients import CLIENTS, NAME, NAMESPACE

HERE = Path(__file__).parents[2]
READERS = 3
WRITES = 400
LISTENERS = 50


class Server:
    """A redis-server on a free port that can be started again."""

    def __init__(self) -> None:
        program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
        if program is None:
            sys.exit("the benchmark needs redis-server.\n  On Debian and Ubuntu: apt-get install redis-server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.start()

    def start(self) -> None:
        """Starts it and waits until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.002)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()


class Connection:
    """Somebody who speaks to Redis by hand."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    def ask(self, *words: str) -> str:
        """Sends a command; gives the reply's first line, or the text that it announces. Pushes are passed over."""
        self._socket.sendall(" ".join(words).encode() + b"\r\n")
        line = self._lines.readline()
        while line.startswith(b">"):
            for _ in range(5):  # a push of one name: "invalidate", and a list of it
                self._lines.readline()
            line = self._lines.readline()
        if line.startswith((b"$", b"=")) and not line.startswith(b"$-1"):
            return self._lines.read(int(line[1:]) + 2).decode()
        if line.startswith(b"%"):
            for _ in range(int(line[1:])):
                self._lines.readline()
        return line.decode()

    def close(self) -> None:
        """Hangs up."""
        self._lines.close()
        self._socket.close()


@contextmanager
def reading(name: str, port: int) -> Iterator[dict[str, Any]]:
    """Has one reader from its first answer on until the end of the block; the dict has then what it saw."""
    command = [sys.executable, "-m", "bench.near.reader", name, str(port)]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield found
        process.stdin.close()
        found.update(json.loads(process.stdout.read().splitlines()[-1]))


def write(connection: Connection, number: int) -> int:
    """Writes the number; gives when that was confirmed."""
    connection.ask("SET", NAME, str(number))
    return time.monotonic_ns()


def staleness(found: dict[str, Any], confirmed: dict[int, int]) -> list[int]:
    """For each number that was written, by how much it had been confirmed when the reader last asked and was given an older one."""
    seen = [(number, asked) for number, asked in found["seen"]]
    out = []
    for number, moment in confirmed.items():
        last_old = next((asked for later, asked in seen if later >= number), None)
        last, asked = found["last"]
        assert last_old is not None or last < number
        out.append(max(0, (asked if last_old is None else last_old) - moment))
    return out


def one_round(name: str, chance: random.Random) -> dict[str, Any]:
    """One client's figures."""
    server = Server()
    try:
        writer = Connection(server.port)
        write(writer, 0)
        confirmed, restarted = {}, {}
        with ExitStack() as stack:
            found = [stack.enter_context(reading(name, server.port)) for _ in range(READERS)]
            gets_before = gets(writer)
            for number in range(1, WRITES + 1):
                time.sleep(chance.uniform(0.002, 0.018))
                confirmed[number] = write(writer, number)
            gets_after = gets(writer)
            time.sleep(0.5)
            writer.close()
            server.kill()
            time.sleep(0.2)
            server.start()
            writer = Connection(server.port)
            restarted[WRITES + 1] = write(writer, WRITES + 1)
            time.sleep(4)
        writer.close()
    finally:
        server.kill()
    return {
        "stale": [late for one in found for late in staleness(one, confirmed)],
        "restart": [late for one in found for late in staleness(one, restarted)],
        "gets": (gets_after - gets_before) / WRITES / READERS,
        "reads": sum(one["reads"] for one in found),
    }


def gets(connection: Connection) -> int:
    """How many GETs the server has carried out."""
    for line in connection.ask("INFO", "commandstats").splitlines():
        if line.startswith("cmdstat_get:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


def cost(mode: list[str] | None, chance: random.Random) -> tuple[float, float]:
    """Microseconds of the server's processor that a write takes, and of waiting, where so many listen in this mode, or nobody does."""
    server = Server()
    try:
        writer = Connection(server.port)
        listeners = [Connection(server.port) for _ in range(LISTENERS if mode is not None else 0)]
        for listener in listeners:
            listener.ask("HELLO", "3")
            listener.ask("CLIENT", "TRACKING", "ON", *(mode or []))
        count, waited, before = 2_000, 0, server_cpu(writer)
        for number in range(count):
            key = f"{NAMESPACE}:{chance.randrange(100)}"
            for listener in listeners if mode == [] else []:
                listener.ask("GET", key)
            start = time.monotonic_ns()
            writer.ask("SET", key, str(number))
            waited += time.monotonic_ns() - start
        return (server_cpu(writer) - before) / count * 1e6, waited / count / 1e3
    finally:
        server.kill()


def server_cpu(connection: Connection) -> float:
    """Seconds of processor that the server has used."""
    fields = dict(line.split(":") for line in connection.ask("INFO", "cpu").splitlines() if ":" in line)
    return float(fields["used_cpu_sys"]) + float(fields["used_cpu_user"])


def at(share: float, values: list[int]) -> float:
    """The value that this share of them does not exceed, in milliseconds."""
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] / 1e6


def version() -> tuple[int, ...]:
    """The server's."""
    server = Server()
    try:
        info = Connection(server.port).ask("INFO", "server")
    finally:
        server.kill()
    text = next(line for line in info.splitlines() if line.startswith("redis_version:"))
    return tuple(int(part) for part in text.split(":")[1].split("."))


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--clients", nargs="*", choices=CLIENTS, default=list(CLIENTS))
    chosen = arguments.parse_args()
    redis = version()
    names = [name for name in chosen.clients if name != "redis-py" or redis >= (7, 4)]
    chance = random.Random(1)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(chosen.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(one_round(name, chance))
    print(
        f"Stale answers after a foreign write, {READERS} processes, {chosen.rounds} x {WRITES} writes; then after a restart of the server"
    )
    print(
        f"{'':14}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'restart, worst ms':>20}{'GETs a write':>14}{'reads':>10}"
    )
    for name, rounds in found.items():
        late = [one for figures in rounds for one in figures["stale"]]
        after = max(one for figures in rounds for one in figures["restart"])
        asked = sum(figures["gets"] for figures in rounds) / len(rounds)
        reads = sum(figures["reads"] for figures in rounds)
        print(
            f"{name:14}{at(0.5, late):9.2f}{at(0.99, late):9.2f}{max(late) / 1e6:10.2f}{after / 1e6:20.2f}{asked:14.2f}{reads:10,}"
        )
    print(f"\nWhat a write costs, {LISTENERS} connections that are told of it")
    for title, mode in (
        ("nobody listens", None),
        ("BCAST", ["BCAST", "PREFIX", f"{NAMESPACE}:"]),
        ("default, with their GETs", []),
    ):
        cpu, waited = cost(mode, chance)
        print(f"{title:28}{cpu:8.1f} µs of the server{waited:8.1f} µs until it is confirmed")
    print(machine("donjon", "coredis", "redis", "valkey-glide"), "Redis", ".".join(map(str, redis)))


if __name__ == "__main__":
    main()
