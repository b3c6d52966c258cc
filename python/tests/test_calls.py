"""The cases of every call, as data in `tests/cases/calls`: Python comes to the same results on every backend."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from loaders import PATIENT

from donjon import FOREVER, Cache, DonjonError, Hit, Miss
from donjon.testing import ManualClock

FILES = sorted((Path(__file__).parents[2] / "tests" / "cases" / "calls").glob("*.json"))
CASES = [(path.stem, case) for path in FILES for case in json.loads(path.read_text("utf-8"))["cases"]]
# What each place has of what cases need.
OVER_REDIS = {"redis", "time", "strict", "max_value_bytes"}
PLACES = {"memory": {"clock", "bounds"}, "redis": OVER_REDIS, "near": OVER_REDIS}
RUNS = [
    pytest.param(place, case, id=f"{place}: {about}: {case['name']}")
    for about, case in CASES
    for place, has in PLACES.items()
    if has.issuperset(case.get("needs", []))
]
NOTHING = object()
Step = dict[str, Any]


class Down(Exception):
    """What the loader of a case fails with."""


class Run:
    """One case on caches of its own: what it has in hand, and how its steps are done."""

    def __init__(self, make: Callable[[], Cache], clock: ManualClock, server: Any) -> None:
        self.caches = defaultdict(make)  # by the name that a case has for one; the first has none
        self.clock = clock
        self.server = server
        self.at_ms = 0
        self.held: dict[str, Any] = {}
        self.risen = 0

    async def steps(self, steps: list[Step]) -> None:
        for step in steps:
            await asyncio.gather(*(self.step(one) for one in step.get("together", [step])))

    async def step(self, step: Step) -> None:
        at_ms = step.get("at_ms", self.at_ms)
        self.clock.advance((at_ms - self.at_ms + step.get("wait_ms", 0)) / 1000)
        self.at_ms = at_ms
        if "wait_ms" in step:
            await asyncio.sleep(step["wait_ms"] / 1000)
        if "redis" in step:
            await self.redis(step["redis"])
        given, failed = NOTHING, None
        try:
            given = await self.call(step)
        except (DonjonError, Down) as error:
            failed = type(error).__name__
        assert failed == step.get("fails"), step
        assert "nothing" not in step or given is NOTHING, step
        if "gives" in step:
            assert json.dumps(given, sort_keys=True) == json.dumps(step["gives"], sort_keys=True), step
        if "rises" in step:
            before, self.risen = self.risen, getattr(given, step["rises"])
            assert self.risen > before, step
        for name, fact in step.get("has", {}).items():
            assert (given[name] if isinstance(given, Mapping) else getattr(given, name)) == fact, (name, step)
        for name, fact in step.get("stats", {}).items():
            assert getattr(self.caches[step.get("by")].stats(), name) == fact, (name, step)

    async def call(self, step: Step) -> Any:
        """What the call gives that a step names, as Python spells it."""
        name, *args = step["do"]
        cache = self.caches[step.get("by")]
        options = {name: FOREVER if it == "forever" else it for name, it in step.get("with", {}).items()}
        held = self.held.get(step.get("of", ""))
        if isinstance(held, Miss):
            return await cache.fill(held, *args, **options)
        if name == "next":
            return await anext(held)
        if name == "enabled":
            return setattr(cache, name, *args)
        if name == "get":
            args.append(NOTHING)
        if name in {"get_or_set", "get_or_set_many", "warm"}:
            args.append(self.loader(step))
        given = attrgetter(name)(held or cache)(*args, **options)
        if isinstance(given, Awaitable):
            given = await given
        if hasattr(given, "__aenter__"):  # what is held until it is given back: a lock, a subscription, a miss
            given = await given.__aenter__()
        if "as" in step:
            self.held[step["as"]] = given
        if name == "ttl":
            return NOTHING if given is None else "forever" if math.isinf(given) else round(given * 1000)
        if name == "delete":
            return bool(given)
        return given.value if isinstance(given, Hit) else NOTHING if isinstance(given, Miss) else given

    async def redis(self, where: str) -> None:
        """Ends the server, or starts it again with what it has on disk, and waits until the cache knows."""
        (self.server.kill if where == "away" else self.server.restart)()
        while await self.caches[None].ping() is (where == "away"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def loader(self, step: Step) -> Any:
        """Gives what the step says that it loads, once the steps are done that come meanwhile."""

        async def load(asked: str | list[str] | None = None) -> Any:
            assert step.keys() & {"loads", "loads_each", "load_fails"}, f"nothing is to be loaded: {step}"
            await asyncio.sleep(0)  # for who asks at the same time
            await self.steps(step.get("meanwhile", []))
            if "load_fails" in step:
                raise Down
            if isinstance(asked, list):
                assert sorted(asked) == sorted(step["loads_each"]), step
            return step["loads_each"][asked] if isinstance(asked, str) else step.get("loads_each", step.get("loads"))

        return load


@pytest.mark.parametrize(("place", "case"), RUNS)
async def test_a_call_gives_what_it_gives_everywhere(
    place: str, case: dict[str, Any], namespace: str, request: pytest.FixtureRequest
) -> None:
    clock, server, own = ManualClock(), None, "redis" in case.get("needs", [])
    options: dict[str, Any] = {"early": 0.0, "namespace": namespace, **case.get("cache", {})}
    if "load_timeout" in options:
        options["load_timeout"] /= 1000
    if place == "memory":
        make = partial(Cache.memory, clock=clock, **options)
    else:
        fixture = request.getfixturevalue
        server = fixture("own_server")(append_only=True) if own else fixture("redis_server")
        make = partial(Cache.redis, server.url, near=place == "near", **PATIENT, **options)
    run = Run(make, clock, server)
    try:
        await run.steps(case["steps"])
    finally:
        for cache in run.caches.values():
            await cache.close()
