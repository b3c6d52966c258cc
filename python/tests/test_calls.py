"""The cases of every call, as data in `tests/cases/calls`: Python comes to the same results on every backend."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from loaders import PATIENT

from donjon import FOREVER, Cache, DonjonError, Hit, Miss, _errors
from donjon.testing import ManualClock
from redis_server import RedisServer

FILES = sorted((Path(__file__).parents[2] / "tests" / "cases" / "calls").glob("*.json"))
CASES = [(path.stem, case) for path in FILES for case in json.loads(path.read_text("utf-8"))["cases"]]
# What each place has of what cases need.
PLACES = {"memory": {"clock", "bounds"}, "redis": {"max_value_bytes"}, "near": {"max_value_bytes"}}
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
    """One case on one cache: what it has in hand, and how its steps are done."""

    def __init__(self, cache: Cache, clock: ManualClock) -> None:
        self.cache = cache
        self.clock = clock
        self.at_ms = 0
        self.held: dict[str, Any] = {}
        self.risen = 0

    async def steps(self, steps: list[Step]) -> None:
        for step in steps:
            await asyncio.gather(*(self.step(one) for one in step.get("together", [step])))

    async def step(self, step: Step) -> None:
        at_ms = step.get("at_ms", self.at_ms)
        self.clock.advance((at_ms - self.at_ms) / 1000)
        self.at_ms = at_ms
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
            assert getattr(self.cache.stats(), name) == fact, (name, step)

    async def call(self, step: Step) -> Any:
        """What the call gives that a step names, as Python spells it."""
        name, *args = step["do"]
        options = {name: FOREVER if it == "forever" else it for name, it in step.get("with", {}).items()}
        held = self.held.get(step.get("of", ""))
        if isinstance(held, Miss):
            return await self.cache.fill(held, *args, **options)
        if name == "next":
            return await anext(held)
        if name == "enabled":
            return setattr(self.cache, name, *args)
        if name == "get":
            args.append(NOTHING)
        if name in {"get_or_set", "get_or_set_many", "warm"}:
            args.append(self.loader(step))
        given = attrgetter(name)(held or self.cache)(*args, **options)
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


def made(place: str, options: dict[str, Any], clock: ManualClock, request: pytest.FixtureRequest) -> Cache:
    options = {"early": 0.0, **options}
    if place == "memory":
        return Cache.memory(clock=clock, **options)
    server: RedisServer = request.getfixturevalue("redis_server")
    namespace = request.getfixturevalue("namespace")
    return Cache.redis(server.url, namespace=namespace, near=place == "near", **PATIENT, **options)


@pytest.mark.parametrize(("place", "case"), RUNS)
async def test_a_call_gives_what_it_gives_everywhere(
    place: str, case: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    clock = ManualClock()
    async with made(place, case.get("cache", {}), clock, request) as cache:
        await Run(cache, clock).steps(case["steps"])


def test_each_call_has_a_case() -> None:
    done = json.dumps([case for _, case in CASES])
    calls = {name for name in dir(Cache) if name[0] != "_" and inspect.isroutine(getattr(Cache, name))}
    elsewhere = "announce cached connect from_env get_hit_rate get_miss_rate get_size memory redis stats"
    assert {name for name in calls if f'["{name}"' not in done} == set(elsewhere.split())


def test_each_error_has_a_case() -> None:
    failed = {step["fails"] for _, case in CASES for step in case["steps"] if "fails" in step}
    # Those of settings and templates are in files of their own; the rest take Python's types, an outage or real time.
    elsewhere = "ConfigError InvalidNamespace InvalidTemplate UnsupportedValue DecodeError BackendUnavailable InvalidationQueued LoadTimeout"
    bases = {"DonjonError", "LockError"}
    assert failed | set(elsewhere.split()) | bases == set(_errors.__all__) | {"Down"}
