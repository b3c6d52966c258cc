"""What does a cache in this process's memory cost a Python program, a call?

Times `for key in keys: await cache.get(key)` and its like: one coroutine, 1,000 keys in rotation, on uvloop, which is kinder
to peers that set timers than asyncio's own loop. The loop, the `await` and the call are part of every figure, and nothing is
subtracted. The floor is a dict behind `async def`,
which is what any asynchronous cache pays at least. Each peer has its default memory settings and a time to live of five minutes,
and keeps references: what one caller changes, the next one sees. donjon hands out copies, and so do fastapi-cache2, which reads JSON
at each hit, and the cached functions of cachebox, one level deep. cashews' cached function is the default one, which lets one caller
load for all, as donjon's does; `protected=False`, which does not, takes about half as long.

In each round every library runs one slice of every operation, in changing order. A figure is the median over rounds; a ratio
is the median of the ratios within rounds, so that what slows the machine for a while slows both sides.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter_ns
from typing import Any

import uvloop

from .libraries import KEYS, NESTED, SCALAR, SMALL, Library, libraries, load
from .machine import machine

SLICE_NS = 20_000_000

OPERATIONS = [
    "get hit, scalar",
    "get hit, small dict",
    "get hit, nested",
    "get miss",
    "set, small dict",
    "get_or_set hit, small dict",
    "cached function hit, small dict",
]


async def prepare(library: Library, operation: str) -> Callable[[int], Awaitable[None]] | None:
    """Puts in what the operation needs, checks one answer, and gives the loop to time."""
    call = library.spelled(operation)
    if call is None:
        return None
    value = SCALAR if "scalar" in operation else NESTED if "nested" in operation else SMALL
    keys: list[Any] = [f"user:profile:{operation}:{n}" for n in range(KEYS)]
    if operation.startswith("cached"):
        keys = list(range(KEYS))
    names: dict[str, Any] = {
        "cache": library.cache,
        "function": library.function,
        "load": load,
        "keys": keys,
        "value": value,
        **library.names,
    }
    if operation.startswith(("get hit", "get_or_set")) and library.set is not None:
        await compiled(library.set, names)(1)
    run = compiled(call, names)
    await run(1)
    if not operation.startswith("set"):
        answer = await compiled(f"return {call}", names)(1)
        assert answer == (None if "miss" in operation else value), f"{library.name}: {operation} answered {answer!r}"
    return run


def compiled(call: str, names: dict[str, Any]) -> Callable[[int], Awaitable[Any]]:
    """The loop around `call`, spelled out as a user would, so that no wrapper adds to what is timed."""
    source = f"async def run(passes):\n for _ in range(passes):\n  for key in keys:\n   {call}\n"
    scope = dict(names)
    exec(source, scope)
    run: Callable[[int], Awaitable[Any]] = scope["run"]
    return run


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
            run = await prepare(library, operation)
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
    scalar, small, nested = (found[f"get hit, {what}"] for what in ("scalar", "small dict", "nested"))
    function = found["cached function hit, small dict"]
    return [
        ("get hit of a scalar, times the floor", ratio(scalar, "donjon", "async dict"), "under", 2.5),
        ("get hit of a small dict, times the floor", ratio(small, "donjon", "async dict"), "under", 3),
        ("get hit of a nested value, share of parsing it", ratio(nested, "donjon", "orjson.loads"), "under", 0.5),
        ("cached function hit, times the floor", ratio(function, "donjon", "async dict"), "under", 5),
        ("get hit of a small dict, times faster than aiocache", ratio(small, "aiocache", "donjon"), "at least", 20),
        ("cached function hit, times faster than cashews", ratio(function, "cashews", "donjon"), "at least", 10),
    ]


def report(found: dict[str, dict[str, list[float]]], rounds: int) -> None:
    """Prints the table, the goals and the machine."""
    print(f"ns an operation, median of {rounds} rounds (and times the floor, the `async def` dict)\n")
    print(f"{'':16}" + "".join(f"{operation.partition(',')[0]:>20}" for operation in OPERATIONS))
    print(f"{'':16}" + "".join(f"{operation.partition(', ')[2]:>20}" for operation in OPERATIONS))
    for name in dict.fromkeys(name for times in found.values() for name in times):
        cells = [
            f"{median(times[name]):,.0f} (x{ratio(times, name, 'async dict'):.1f})" if name in times else "-"
            for times in found.values()
        ]
        print(f"{name:16}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"\nA small dict is {len(json.dumps(SMALL))} bytes of JSON, a nested one {len(json.dumps(NESTED)):,}.\n")
    for sentence, figure, how, limit in goals(found):
        reached = figure < limit if how == "under" else figure >= limit
        print(f"{'reached' if reached else 'NOT reached':12}{sentence}: {figure:.2f} (goal: {how} {limit:g})")
    packages = "donjon cashews aiocache fastapi-cache2 cachetools moka-py cachebox theine orjson uvloop"
    print(f"\n{machine(*packages.split())}")


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="slices of each operation and library (default: 15)")
    rounds: int = parser.parse_args().rounds
    report(uvloop.run(measure(rounds)), rounds)


if __name__ == "__main__":
    main()
