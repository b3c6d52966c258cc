"""One process of the history test: tasks that read, write and invalidate at random, and write down what they did.

    python worker.py PLAN LOG SEED ADAPTER

Runs until its standard input ends, as it does when the harness dies. The Rust worker beside it does the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from adapters import ADAPTERS, Adapter, LoadFailed
from history import FAILED, Log, now
from plan import Plan
from source import Source

T = TypeVar("T")

COUNT_EVERY = 0.25
END_WITHIN = 15.0
LEAVE_WITHIN = 0.03
TARGETS = {"key": 12, "keys": 3, "pattern": 3, "tag": 4, "clear": 1}


class Left(Exception):
    """A caller went away."""


class Worker:
    """Runs tasks against one cache."""

    def __init__(self, plan: Plan, adapter: Adapter, log: Log, seed: str) -> None:
        self._plan = plan
        self._adapter = adapter
        self._log = log
        self._chance = random.Random(seed)
        self._source = Source(Path(plan.source), plan.keys)
        self._keys = list(plan.keys)

    async def run(self) -> None:
        """Works until the input ends."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        threading.Thread(target=_wait_for_end, args=(loop, over), daemon=True).start()
        await self._adapter.open()
        tasks = [loop.create_task(self._work(over)) for _ in range(self._plan.tasks)]
        while not over.is_set():
            await asyncio.sleep(COUNT_EVERY)
            self._log.counters(self._adapter.counters())
        await asyncio.wait_for(asyncio.gather(*tasks), END_WITHIN)
        self._log.counters(self._adapter.counters())
        await self._adapter.close()

    async def _work(self, over: asyncio.Event) -> None:
        while not over.is_set():
            draw = self._chance.random()
            if draw < self._plan.writes:
                await self._write()
            elif draw < self._plan.writes + self._plan.passing:
                await self._pass()
            else:
                await self._read()
            await asyncio.sleep(self._chance.random() * self._plan.rest)

    async def _read(self) -> None:
        way = self._pick(self._adapter.ways)
        keys = self._chance.sample(self._keys, 3)
        begun = now()
        try:
            values = await self._unless_left(self._adapter.read(way, keys, self._load))
        except (LoadFailed, Left):
            return
        except Exception as error:
            self._log.fault(way, error)
            return
        ended = now()
        for key, value in values.items():
            self._log.read(begun, ended, key, value["version"], way)

    async def _pass(self) -> None:
        """A read of a key that nobody reads again: what is held for it has to leave without being asked for."""
        try:
            await self._adapter.pass_by(f"passing:{self._chance.getrandbits(64):x}")
        except Exception as error:
            self._log.fault("passing", error)

    async def _load(self, key: str) -> dict[str, int]:
        """A query that sees the row at some moment, and whose answer arrives later."""
        before, after = self._delay(), self._delay()
        await asyncio.sleep(before)
        if self._chance.random() < self._plan.failing:
            raise LoadFailed(key)
        version = self._source.version(key)
        await asyncio.sleep(after)
        return {"version": version}

    def _delay(self) -> float:
        draw = self._chance.random()
        if draw < 0.3:
            return 0.0
        return draw * (0.15 if draw > 0.98 else 0.02)

    async def _write(self) -> None:
        kind = self._pick(TARGETS)
        names, covered = self._target(kind)
        for key in self._chance.sample(covered, self._chance.randint(1, min(3, len(covered)))):
            self._source.write(key)
        versions = {key: self._source.version(key) for key in covered}
        begun = now()
        try:
            outcome = await self._unless_left(self._adapter.invalidate(kind, names))
        except Left:
            outcome = FAILED
        except Exception as error:
            self._log.fault(kind, error)
            outcome = FAILED
        self._log.invalidation(begun, now(), " ".join([kind, *names]), outcome, versions)

    async def _unless_left(self, call: Coroutine[Any, Any, T]) -> T:
        """What a call gives, unless its caller goes away before."""
        if self._chance.random() >= self._plan.leaving:
            return await call
        task = asyncio.ensure_future(call)
        done, _ = await asyncio.wait([task], timeout=self._chance.random() * LEAVE_WITHIN)
        if done:
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        raise Left

    def _target(self, kind: str) -> tuple[list[str], list[str]]:
        """What to name, and the keys which that covers."""
        if kind == "clear":
            return [], self._keys
        if kind == "key":
            names = [self._chance.choice(self._keys)]
            return names, names
        if kind == "keys":
            names = self._chance.sample(self._keys, 3)
            return names, names
        covers = self._plan.patterns if kind == "pattern" else self._plan.tags
        name = self._chance.choice(list(covers))
        return [name], covers[name]

    def _pick(self, weights: Mapping[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(over.set)


def main(arguments: Sequence[str]) -> None:
    """Runs a worker as the command line says."""
    plan_file, log_file, seed, adapter = arguments
    plan = Plan.read(Path(plan_file))
    asyncio.run(Worker(plan, ADAPTERS[adapter](plan), Log(Path(log_file)), seed).run())


if __name__ == "__main__":
    main(sys.argv[1:])
