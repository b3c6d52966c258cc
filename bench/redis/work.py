"""What one client is timed at, in a process of its own: `python -m bench.redis.work CLIENT PORT` prints figures as JSON.

A fresh process for every client and round keeps imports, connections and the garbage of one client from costing another.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from time import monotonic_ns, perf_counter_ns, process_time_ns
from typing import Any, NamedTuple

import uvloop

from . import bystander
from .clients import CLIENTS, NAMESPACE, Client
from .floor import command

VALUE = {"id": 123, "name": "John Smith", "email": "john@example.org", "active": True, "score": 4.5}
KEYS = 1_000
BATCH = 100
TASKS = [1, 10, 100, 1_000]
SWEEPS = {"few": 1_000, "many": 100_000}
"""How many keys a sweep removes."""
TIMES = {"few": 5, "many": 1}
"""How often it runs, each time on keys of its own; a short one gives the bystander little to see."""
CROWD = 200_000
TRIES = 5
SLICE_NS = 250_000_000
SLICES = 3
SERIAL = 3_000

Run = Callable[[int], Awaitable[int]]


@dataclass
class Figures:
    """What one process found. Times are nanoseconds."""

    gets_a_second: dict[int, float] = field(default_factory=dict)
    cpu_a_get: dict[int, float] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    p50: float = 0
    p99: float = 0
    serial_cpu: float = 0
    get_many: float = 0
    set_many: float = 0
    sweep: dict[str, float] = field(default_factory=dict)
    sweep_cpu: dict[str, float] = field(default_factory=dict)
    # What the bystander waited, in nanoseconds.
    pings: dict[str, list[int]] = field(default_factory=dict)


def compiled(source: str, names: dict[str, Any]) -> Any:
    """The function `run` of a source text."""
    scope = dict(names)
    exec(source, scope)
    return scope["run"]


def gets(client: Client, keys: list[str]) -> Run:
    """A loop of gets that counts those which failed or found nothing; some clients hide their errors so."""
    source = f"""async def run(count):
    failed = 0
    for n in range(count):
        key = keys[n % {KEYS}]
        try:
            if {client.get} is None:
                failed += 1
        except Exception:
            failed += 1
    return failed
"""
    run: Run = compiled(source, client.names | {"keys": keys})
    return run


def repeated(client: Client, call: str, **names: Any) -> Run:
    """A loop of one call."""
    run: Run = compiled(f"async def run(count):\n for _ in range(count):\n  {call}\n return 0\n", client.names | names)
    return run


class Slice(NamedTuple):
    """A count of calls, and what they took: nanoseconds, those of the processor, and failures."""

    count: int
    wall: int
    cpu: int
    failed: int


async def slice_of(count: int, run: Run, tasks: int) -> Slice:
    """Each of the tasks makes so many calls."""
    wall, cpu = perf_counter_ns(), process_time_ns()
    failed = sum(await asyncio.gather(*(run(count) for _ in range(tasks))))
    cpu, wall = process_time_ns() - cpu, perf_counter_ns() - wall
    return Slice(count * tasks, wall, cpu, failed)


async def sliced(run: Run, tasks: int = 1) -> list[Slice]:
    """Runs for some slices of about the same length; what it takes to find that length comes before them."""
    count = 10
    while (found := await slice_of(count, run, tasks)).wall <= SLICE_NS / 2:
        count = min(count * 20, max(count + 1, round(count * SLICE_NS / found.wall)))
    return [found, *[await slice_of(count, run, tasks) for _ in range(SLICES - 1)]]


def a_call(slices: list[Slice]) -> float:
    """How long one call took, in nanoseconds."""
    return median(one.wall / one.count for one in slices)


async def serial(client: Client, keys: list[str], figures: Figures) -> None:
    """One get after the other: how long each takes, then what they cost."""
    source = f"""async def run(count):
    times = []
    for n in range(count):
        key = keys[n % {KEYS}]
        start = clock()
        {client.get}
        times.append(clock() - start)
    return times
"""
    run = compiled(source, client.names | {"keys": keys, "clock": perf_counter_ns})
    await run(KEYS)
    cpu = process_time_ns()
    times = sorted(await run(SERIAL))
    figures.serial_cpu = (process_time_ns() - cpu) / SERIAL
    figures.p50, figures.p99 = times[SERIAL // 2], times[SERIAL * 99 // 100]


@contextmanager
def spoken(port: int) -> Iterator[Callable[[bytes, int], bytes]]:
    """Commands on a plain socket, beside the client: sends them, waits for a number of lines."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        file = server.makefile("rb")

        def speak(commands: bytes, lines: int) -> bytes:
            server.sendall(commands)
            for _ in range(lines):
                line = file.readline()
                assert not line.startswith(b"-"), line
            return line

        yield speak


async def sweeps(client: Client, port: int, figures: Figures) -> None:
    """Invalidates a few of many keys, then half of them, while a bystander pings."""
    value = json.dumps(VALUE).encode()
    spans: dict[str, list[tuple[int, int]]] = {}
    with spoken(port) as speak:
        speak(command([b"FLUSHALL"]), 1)
        kinds = {f"{kind}{turn}": count for kind, count in SWEEPS.items() for turn in range(TIMES[kind])}
        for kind, count in (kinds | {"other": CROWD - sum(kinds.values())}).items():
            for first in range(0, count, 1_000):
                names = (f"{NAMESPACE}:{kind}:{n}:status".encode() for n in range(first, first + 1_000))
                speak(b"".join(command([b"SET", name, value]) for name in names), 1_000)
        with bystander.pinging(port) as samples:
            # The server frees and rehashes for a while.
            await asyncio.sleep(0.3)
            start = monotonic_ns()
            await asyncio.sleep(1)
            spans["idle"] = [(start, monotonic_ns())]
            left = CROWD
            for kind, count in SWEEPS.items():
                spans[kind], cpus = [], []
                for turn in range(TIMES[kind]):
                    left -= count
                    run = repeated(client, str(client.invalidate), pattern=f"{client.prefix}{kind}{turn}:*")
                    start, cpu = monotonic_ns(), process_time_ns()
                    await swept(run, left, speak)
                    cpus.append(process_time_ns() - cpu)
                    spans[kind].append((start, monotonic_ns()))
                figures.sweep[kind] = median(end - start for start, end in spans[kind])
                figures.sweep_cpu[kind] = median(cpus)
    figures.pings = {
        kind: [took for span in those for took in bystander.between(samples, *span)] for kind, those in spans.items()
    }


async def swept(run: Run, left: int, speak: Callable[[bytes, int], bytes]) -> None:
    """Invalidates, after which so many keys are to be left."""
    # A client may give up where the machine is busy: then the next try is part of what it takes.
    for _ in range(TRIES):
        await run(1)
        size = int(speak(command([b"DBSIZE"]), 1)[1:])
        if size == left:
            return
    raise AssertionError(f"{size} keys are left of {left}")


async def measure(name: str, port: int) -> Figures:
    """Everything that one client is timed at."""
    client = await CLIENTS[name](port)
    figures = Figures()
    keys = [f"{client.prefix}user:profile:{n}" for n in range(KEYS)]
    items = {key: client.values(VALUE) for key in keys}
    for first in range(0, KEYS, BATCH):
        part = dict(list(items.items())[first : first + BATCH])
        await repeated(client, client.set_many, items=part)(1)
    key = keys[-1]
    answer = await compiled(f"async def run(): return {client.get}", client.names | {"key": key})()
    assert answer == client.values(VALUE), f"{name} answered {answer!r}"

    await serial(client, keys, figures)
    for tasks in TASKS:
        slices = await sliced(gets(client, keys), tasks)
        figures.gets_a_second[tasks] = median((one.count - one.failed) / one.wall * 1e9 for one in slices)
        figures.cpu_a_get[tasks] = median(one.cpu / one.count for one in slices)
        figures.failed[tasks] = sum(one.failed for one in slices)
    figures.get_many = a_call(await sliced(repeated(client, client.get_many, keys=keys[:BATCH])))
    part = dict(list(items.items())[:BATCH])
    figures.set_many = a_call(await sliced(repeated(client, client.set_many, items=part)))
    if client.invalidate is not None:
        await sweeps(client, port, figures)
    return figures


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(measure(sys.argv[1], int(sys.argv[2]))))))
