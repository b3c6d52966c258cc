"""How many requests a second does one FastAPI route answer: uncached, with cashews, with donjon?

The route gives twenty rows, which SQLAlchemy reads from SQLite, as JSON through a pydantic model. A server of each kind is a process of
its own, uvicorn with uvloop and httptools; a client in another process keeps some connections busy. The servers are asked in turn, round by
round, and the ratio is the median of those within rounds, so that what slows the machine slows them all.

    python -m bench.fastapi_route --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import uvloop

from .machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/redis/python"))

from redis_server import RedisServer

TOP = Path(__file__).resolve().parent.parent

KINDS = {
    "uncached": "none",
    "cashews, memory": "cashews mem://",
    "cashews, Redis": "cashews redis",
    "donjon function, memory": "function memory",
    "donjon function, near": "function near",
    "donjon function, Redis": "function redis",
    "donjon response, memory": "response memory",
    "donjon response, near": "response near",
    "donjon response, Redis": "response redis",
}
CONNECTIONS = 16
SECONDS = 1.5
REQUEST = b"GET /documents HTTP/1.1\r\nHost: bench\r\n\r\n"


async def asked(port: int, seconds: float) -> tuple[int, float]:
    """Requests, each answered in full, and the seconds that they took."""
    end = perf_counter() + seconds
    done = 0

    async def connection() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while perf_counter() < end:
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            done += 1
        writer.close()

    begun = perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return done, perf_counter() - begun


def cpu_seconds(pid: int) -> float:
    """What a process has had of the CPU so far. Other work on the machine changes the requests a second, but hardly this."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(kind: str, redis: str, folder: str) -> Iterator[tuple[int, int]]:
    """A server of this kind; gives its port and the number of its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "bench.fastapi_app:app", "--port", str(port), "--no-access-log"]
    environment = {**os.environ, "BENCH_KIND": kind, "BENCH_REDIS": redis, "BENCH_FOLDER": folder}
    with subprocess.Popen(
        [*command, "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"],
        cwd=TOP,
        env=environment,
    ) as process:
        try:
            while not answers(port):
                if process.poll() is not None:
                    raise RuntimeError(f"the server for {kind} did not start")
            yield port, process.pid
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Prints a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    print(machine("fastapi", "uvicorn", "cashews", "redis"))
    with RedisServer() as redis, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {name: stack.enter_context(served(kind, redis.url, folder)) for name, kind in KINDS.items()}
        for port, _ in servers.values():
            uvloop.run(asked(port, 0.5))
        rates: dict[str, list[float]] = {name: [] for name in KINDS}
        costs: dict[str, list[float]] = {name: [] for name in KINDS}
        for _ in range(rounds):
            for name, (port, pid) in servers.items():
                before = cpu_seconds(pid)
                done, seconds = uvloop.run(asked(port, SECONDS))
                rates[name].append(done / seconds)
                costs[name].append((cpu_seconds(pid) - before) / done * 1e6)
    print(f"\n{CONNECTIONS} connections, medians of {rounds} rounds\n")
    print("| one route | requests a second | times uncached | CPU µs a request |\n|---|---|---|---|")
    for name, figures in rates.items():
        ratio = median(one / base for one, base in zip(figures, rates["uncached"], strict=True))
        print(f"| {name} | {median(figures):,.0f} | {ratio:.2f} | {median(costs[name]):,.0f} |")


if __name__ == "__main__":
    main()
