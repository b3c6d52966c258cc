"""What does an application's user notice while Redis is frozen, killed, started again or replaced?

Runs the guide's application in several processes over a Redis with a replica and three sentinels, reads and changes documents
all the while, and prints how many calls failed, how long they took and how old answers were; `--picture` draws it over time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import aiohttp
from bench.machine import machine
from bench.picture import Band, Line, Panel, draw, over_time

from .load import Call, Load, Seen
from .servers import NAME, Redis, Sentinels, application, ask, redis_with_sentinels, wait_until

SECONDS = 45.0
STEP = 0.25
"""Seconds that one point of the picture stands for."""
READS_A_SECOND = 150.0
CHANGES_A_SECOND = 10.0


def at(share: float, values: list[float]) -> float:
    """The value that this share of them does not exceed."""
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


class Faults:
    """What happens to Redis, and when: 5 s each, with 5 s of rest between them."""

    def __init__(self, redis: Redis, sentinels: Sentinels, start: float) -> None:
        self.bands: list[Band] = []
        self._redis, self._sentinels, self._start = redis, sentinels, start

    async def happen(self) -> None:
        """Lets them happen, one after another."""
        await self._until(5)
        with self._band("frozen"):
            self._redis.freeze()
            await self._until(10)
            self._redis.thaw()
        await self._until(15)
        with self._band("killed, then started empty"):
            self._redis.kill()
            await self._until(20)
            await asyncio.to_thread(self._redis.start)
        await self._until(30)
        with self._band("killed, replaced by its replica"):
            self._sentinels.be_quick()
            self._redis.kill()
            await asyncio.to_thread(self._wait_for_another)

    def _wait_for_another(self) -> None:
        old, port = f"${len(str(self._redis.port))}\r\n{self._redis.port}\r\n", self._sentinels.ports[0]
        wait_until(
            lambda: old not in ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME), "the replica took over", 60
        )

    async def _until(self, second: float) -> None:
        await asyncio.sleep(self._start + second - monotonic())

    @contextmanager
    def _band(self, name: str) -> Iterator[None]:
        start = monotonic()
        yield
        self.bands.append(Band(name, start - self._start, monotonic() - self._start))


async def run(address: str, redis: Redis, sentinels: Sentinels, seed: int) -> tuple[Seen, list[Band], float]:
    """Loads the application while Redis fails."""
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, timeout=timeout, connector=connector) as session:
        load = Load(session, seed)
        await load.prepare()
        start = monotonic()
        faults = Faults(redis, sentinels, start)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.read_on(READS_A_SECOND, start + SECONDS))
            group.create_task(load.change_on(CHANGES_A_SECOND, start + SECONDS))
            group.create_task(faults.happen())
    return load.seen, faults.bands, start


def said(name: str, calls: list[Call]) -> str:
    """What became of some calls, in one line."""
    took = [call.took * 1e3 for call in calls]
    return (
        f"{name}: {len(calls):,}, {sum(call.failed for call in calls)} failed, "
        f"p50 {at(0.5, took):.1f} ms, p99 {at(0.99, took):.1f} ms, worst {max(took):,.0f} ms"
    )


def pictured(seen: Seen, bands: list[Band], start: float, caption: str) -> str:
    """The run over time."""

    def points(calls: list[Call], value: Callable[[Call], float]) -> list[tuple[float, float]]:
        return [(call.at - start, value(call) * 1e3) for call in calls]

    reads, changes = points(seen.reads, lambda call: call.took), points(seen.changes, lambda call: call.took)
    ages = points(seen.reads, lambda call: call.stale)
    middle, nearly_all = (lambda values: at(0.5, values)), (lambda values: at(0.99, values))
    panels = [
        Panel(
            "a read took",
            [
                Line("p50", "#2f6f9f", over_time(reads, middle, STEP)),
                Line("p99", "#c0562f", over_time(reads, nearly_all, STEP)),
            ],
        ),
        Panel("a change took", [Line("longest", "#5b8c3a", over_time(changes, max, STEP))]),
        Panel("the oldest answer was stale for", [Line("longest", "#7a4f9a", over_time(ages, max, STEP))]),
    ]
    return draw(panels, bands, SECONDS, caption)


def main() -> None:
    """Runs it once."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--workers", type=int, default=2, help="processes that serve (default 2)")
    arguments.add_argument("--near", action="store_true", help="memory in front of Redis")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--picture", type=Path, help="where to write an SVG")
    chosen = arguments.parse_args()
    settings = {"CACHE_NEAR": "true"} if chosen.near else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with redis_with_sentinels(folder) as (redis, sentinels):
            url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in sentinels.ports)}/{NAME}/0"
            with application(folder, url, chosen.workers, settings) as address:
                seen, bands, start = asyncio.run(run(address, redis, sentinels, chosen.seed))
    stale = [call for call in seen.reads if call.stale > 0]
    oldest = f"stale for {max(call.stale for call in stale) * 1e3:,.0f} ms at most" if stale else "none stale"
    failed = sum(call.failed for call in seen.reads + seen.changes)
    print(said("reads", seen.reads))
    print(said("changes", seen.changes))
    print(f"answers that did not show a confirmed change: {len(stale)}, {oldest}")
    print(machine("donjon", "fastapi", "uvicorn"))
    if chosen.picture:
        caption = f"{READS_A_SECOND:.0f} reads and up to {CHANGES_A_SECOND:.0f} changes a second, {chosen.workers} processes; {failed} calls failed"
        chosen.picture.write_text(pictured(seen, bands, start, caption))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
