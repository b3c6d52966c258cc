"""What does a cache in this process's memory cost a Python program, a call?

Times `for key in keys: await cache.get(key)` and its like: one coroutine, 1,000 keys in rotation, on uvloop, which is kinder
to peers that set timers than asyncio's own loop. The loop, the `await` and the call are part of every figure, and nothing is
subtracted. The floor is a dict behind `async def`,
which is what any asynchronous cache pays at least. Each peer has its default memory settings and a time to live of five minutes,
and keeps references: what one caller changes, the next one sees. donjon hands out copies. cashews' cached function is the
default one, which lets one caller load for all, as donjon's does; `protected=False`, which does not, takes about half as long.

In each round every library runs one slice of every operation, in changing order. A figure is the median over rounds; a ratio
is the median of the ratios within rounds, so that what slows the machine for a while slows both sides.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

import aiocache
import cashews
import uvloop

import donjon

from .machine import machine

KEYS = 1_000
TTL = 300
SLICE_NS = 20_000_000

SCALAR = 1_234_567
SMALL = {"id": 123, "name": "John Smith", "email": "john@example.org", "active": True, "score": 4.5}
NESTED = {
    "id": 123,
    "title": "Quarterly report",
    "owner": SMALL,
    "chunks": [
        {"n": n, "text": f"Chunk {n} of the report, as the index has it.", "score": n / 7, "tags": ["report", "q3"]}
        for n in range(15)
    ],
    "counts": {"pages": 12, "words": 4_801, "links": None},
}

OPERATIONS = [
    "get hit, scalar",
    "get hit, small dict",
    "get hit, nested",
    "get miss",
    "set, small dict",
    "get_or_set hit, small dict",
    "cached function hit, small dict",
]


class DictCache:
    """The floor: a dict behind `async def`, with no limit, no time to live and no isolation."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self._values.get(key)

    async def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    async def get_or_set(self, key: str, loader: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return self._values[key]
        except KeyError:
            value = self._values[key] = await loader()
            return value

    def cached(self, function: Callable[[int], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
        values: dict[int, Any] = {}

        async def wrapper(user_id: int) -> Any:
            try:
                return values[user_id]
            except KeyError:
                value = values[user_id] = await function(user_id)
                return value

        return wrapper


async def load() -> Any:
    """Loads what the cache lacks: in a measured slice, never called."""
    return SMALL


async def profile(user_id: int) -> Any:
    """The function that is cached."""
    return SMALL


@dataclass
class Library:
    """One contender: its cache, its cached function, and how each call is spelled."""

    name: str
    cache: Any
    function: Callable[[int], Awaitable[Any]]
    set_call: str
    get_or_set_call: str | None

    def call(self, operation: str) -> str | None:
        """What the loop awaits for `operation`; None where the library has no such call."""
        if operation.startswith("get "):
            return "cache.get(key)"
        if operation.startswith("set"):
            return self.set_call
        return self.get_or_set_call if operation.startswith("get_or_set") else "function(key)"

    async def prepare(self, operation: str) -> Callable[[int], Awaitable[None]] | None:
        """Puts in what the operation needs, checks one answer, and gives the loop to time."""
        call = self.call(operation)
        if call is None:
            return None
        value = SCALAR if "scalar" in operation else NESTED if "nested" in operation else SMALL
        keys: list[Any] = [f"user:profile:{operation}:{n}" for n in range(KEYS)]
        if operation.startswith("cached"):
            keys = list(range(KEYS))
        names: dict[str, Any] = {
            "cache": self.cache,
            "function": self.function,
            "load": load,
            "keys": keys,
            "value": value,
        }
        if operation.startswith(("get hit", "get_or_set")):
            await compiled(self.set_call, names)(1)
        run = compiled(call, names)
        await run(1)
        answer = await eval(call, names | {"key": keys[-1]})
        if not operation.startswith("set"):
            assert answer == (None if "miss" in operation else value), f"{self.name}: {operation} answered {answer!r}"
        return run


def compiled(call: str, names: dict[str, Any]) -> Callable[[int], Awaitable[None]]:
    """The loop around `call`, spelled out as a user would, so that no wrapper adds to what is timed."""
    source = f"async def run(passes):\n for _ in range(passes):\n  for key in keys:\n   await {call}\n"
    scope = dict(names)
    exec(source, scope)
    run: Callable[[int], Awaitable[None]] = scope["run"]
    return run


def libraries() -> list[Library]:
    """The floor first, then donjon, then the peers."""
    floor = DictCache()
    ours = donjon.Cache.memory(namespace="bench", default_ttl=TTL)
    theirs = cashews.Cache()
    theirs.setup("mem://", size=100 * KEYS)
    other = aiocache.SimpleMemoryCache()
    return [
        Library("async dict", floor, floor.cached(profile), "cache.set(key, value)", "cache.get_or_set(key, load)"),
        Library(
            "donjon",
            ours,
            ours.cached("profile:{user_id}", ttl=TTL)(profile),
            f"cache.set(key, value, ttl={TTL})",
            f"cache.get_or_set(key, load, ttl={TTL})",
        ),
        Library(
            "cashews",
            theirs,
            theirs(ttl=TTL, key="profile:{user_id}")(profile),
            f"cache.set(key, value, expire={TTL})",
            f"cache.get_or_set(key, load, expire={TTL})",
        ),
        Library("aiocache", other, aiocache.cached(ttl=TTL)(profile), f"cache.set(key, value, ttl={TTL})", None),
    ]


async def timed(run: Callable[[int], Awaitable[None]], passes: int) -> float:
    """Nanoseconds an operation."""
    start = perf_counter_ns()
    await run(passes)
    return (perf_counter_ns() - start) / (passes * KEYS)


async def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Nanoseconds by operation, library and round."""
    found: dict[str, dict[str, list[float]]] = {}
    everyone = libraries()
    for operation in OPERATIONS:
        runs: dict[str, tuple[Callable[[int], Awaitable[None]], int]] = {}
        for library in everyone:
            run = await library.prepare(operation)
            if run is not None:
                runs[library.name] = run, max(1, round(SLICE_NS / (await timed(run, 1) * KEYS)))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds):
            order = list(runs)
            for name in order[turn % len(order) :] + order[: turn % len(order)]:
                times[name].append(await timed(*runs[name]))
        found[operation] = times
    return found


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    """How many times longer `over` takes than `under`: the median over rounds."""
    return median(a / b for a, b in zip(times[over], times[under], strict=True))


def goals(found: dict[str, dict[str, list[float]]]) -> list[tuple[str, float, str, float]]:
    """What is to be reached: a sentence, the figure, how it must compare, and with what."""
    small, function = found["get hit, small dict"], found["cached function hit, small dict"]
    return [
        ("get hit of a small dict, times the floor", ratio(small, "donjon", "async dict"), "under", 4),
        ("get hit of a small dict, times faster than aiocache", ratio(small, "aiocache", "donjon"), "at least", 20),
        ("cached function hit, times faster than cashews", ratio(function, "cashews", "donjon"), "at least", 10),
    ]


def report(found: dict[str, dict[str, list[float]]], rounds: int) -> None:
    """Prints the table, the goals and the machine."""
    names = list(found[OPERATIONS[0]])
    print(f"ns an operation, median of {rounds} rounds (and times the floor, the `async def` dict)\n")
    print(f"{'':32}" + "".join(f"{name:>20}" for name in names))
    for operation, times in found.items():
        cells = [
            f"{median(times[name]):,.0f} (x{ratio(times, name, 'async dict'):.1f})" if name in times else "-"
            for name in names
        ]
        print(f"{operation:32}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"\nA small dict is {len(json.dumps(SMALL))} bytes of JSON, a nested one {len(json.dumps(NESTED)):,}.\n")
    for sentence, figure, how, limit in goals(found):
        reached = figure < limit if how == "under" else figure >= limit
        print(f"{'reached' if reached else 'NOT reached':12}{sentence}: {figure:.1f} (goal: {how} {limit:g})")
    print(f"\n{machine('donjon', 'cashews', 'aiocache', 'uvloop')}")


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="slices of each operation and library (default: 15)")
    rounds: int = parser.parse_args().rounds
    report(uvloop.run(measure(rounds)), rounds)


if __name__ == "__main__":
    main()
