"""Is a hit of memory in front of Redis as quick as one of the memory backend?

Times `for key in keys: await cache.get(key)` on both, one coroutine, 1,000 keys in rotation, slice by slice in turn: the ratio is the
median of those within rounds, so that what slows the machine for a while slows both sides.

    python -m bench.near_hit
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import uvloop

from donjon import Cache

from .machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/redis/python"))

from redis_server import RedisServer  # noqa: E402

KEYS = [f"user:{number}" for number in range(1_000)]
VALUES = {
    "scalar": 1_234_567,
    "small dict": {"id": 123, "name": "John Smith", "email": "john@example.org", "active": True, "score": 4.5},
}
PASSES = 5


async def filled(memory: Cache, near: Cache, value: Any) -> None:
    """Both have the value under every key, in memory."""
    for key in KEYS:
        await memory.set(key, value, ttl="1h")
        await near.set(key, value, ttl="1h")
    before = near.stats().memory_hits
    while near.stats().memory_hits < before + len(KEYS):
        before = near.stats().memory_hits
        for key in KEYS:
            await near.get(key)


async def slice_of(cache: Cache) -> float:
    """Nanoseconds a hit."""
    begun = perf_counter_ns()
    for _ in range(PASSES):
        for key in KEYS:
            await cache.get(key)
    return (perf_counter_ns() - begun) / (PASSES * len(KEYS))


async def main(rounds: int) -> None:
    """Prints a line for each kind of value."""
    with RedisServer() as server:
        async with Cache.memory() as memory, Cache.redis(server.url, near=True) as near:
            while near.stats().coherence != "tracking":
                await asyncio.sleep(0.01)
            for name, value in VALUES.items():
                await filled(memory, near, value)
                turns = [(await slice_of(memory), await slice_of(near)) for _ in range(rounds)]
                asked = near.stats().misses
                print(
                    f"get hit, {name}: memory {median(one for one, _ in turns):.0f} ns, "
                    f"near {median(other for _, other in turns):.0f} ns, "
                    f"ratio {median(other / one for one, other in turns):.2f}, {asked} misses"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=51)
    print(machine("donjon", "uvloop"))
    uvloop.run(main(parser.parse_args().rounds))
