"""The cases of every call, as data in `tests/cases/calls`: Python comes to the same results on every backend."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from loaders import PATIENT

import donjon
from donjon import FOREVER, Cache, Hit
from donjon.testing import ManualClock
from redis_server import RedisServer

CALLS = Path(__file__).parents[2] / "tests" / "cases" / "calls"
CASES = [
    (path.stem, case) for path in sorted(CALLS.glob("*.json")) for case in json.loads(path.read_text("utf-8"))["cases"]
]
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
Call = Callable[["Run", Step], Awaitable[Any]]


class LoadError(Exception):
    """What a loader of a case fails with."""


class Run:
    """One case on one cache: what it has in hand, and how its steps are done."""

    def __init__(self, cache: Cache, clock: ManualClock) -> None:
        self.cache = cache
        self.clock = clock
        self.at_ms = 0.0
        self.loaded = 0
        self.kept: dict[str, Any] = {}

    async def steps(self, steps: list[Step]) -> None:
        for step in steps:
            if "together" in step:
                await self.together(step["together"])
            else:
                await self.step(step)

    async def together(self, steps: list[Step]) -> None:
        """All at once: no load ends before each has been asked for."""
        everyone = asyncio.Event()
        tasks = [asyncio.create_task(self.step(step | {"after": everyone})) for step in steps]
        await asyncio.sleep(0)
        everyone.set()
        await asyncio.gather(*tasks)

    async def step(self, step: Step) -> None:
        if "at_ms" in step:
            self.clock.advance((step["at_ms"] - self.at_ms) / 1000)
            self.at_ms = step["at_ms"]
        call = CALLS_BY_NAME[step["do"]]
        if "refused" in step:
            with pytest.raises(getattr(donjon, step["refused"])):
                await call(self, step)
        elif "raises" in step:
            with pytest.raises(LoadError, match=f"^{step['raises']}$"):
                await call(self, step)
        else:
            given = await call(self, step)
            if "nothing" in step:
                assert given is NOTHING, step
            elif "gives" in step:
                assert given == whole(step["gives"]), step

    async def load(self, step: Step, of: str) -> Any:
        assert of in step or "load_fails" in step, f"nothing is to be loaded: {step}"
        self.loaded += 1
        if after := step.get("after"):
            await after.wait()
        await self.steps(step.get("meanwhile", []))
        if "load_fails" in step:
            raise LoadError(step["load_fails"])
        return whole(step[of])

    def keep(self, step: Step, what: Any) -> None:
        if "as" in step:
            self.kept[step["as"]] = what

    def terms(self, step: Step, *names: str) -> dict[str, Any]:
        return {name: FOREVER if step[name] == "forever" else step[name] for name in names if name in step}


def whole(value: Any) -> Any:
    """A value as it is written, or a text that is said to be repeated."""
    return (
        value["repeat"] * value["times"] if isinstance(value, dict) and value.keys() == {"repeat", "times"} else value
    )


async def get_or_set(run: Run, step: Step) -> Any:
    terms = run.terms(step, "ttl", "grace", "tags", "force_refresh")
    return await run.cache.get_or_set(whole(step["key"]), lambda: run.load(step, "loads"), **terms)


async def get_or_set_many(run: Run, step: Step) -> Any:
    async def load(keys: list[str]) -> Mapping[str, Any]:
        assert sorted(keys) == step["asks"], step
        return cast("Mapping[str, Any]", await run.load(step, "loads_each"))

    return await run.cache.get_or_set_many(step["keys"], load, **run.terms(step, "ttl"))


async def lookup(run: Run, step: Step) -> Any:
    found = await run.cache.lookup(step["key"])
    if isinstance(found, Hit):
        return found.value
    run.keep(step, found)
    return NOTHING


async def ttl(run: Run, step: Step) -> Any:
    left = await run.cache.ttl(step["key"])
    return NOTHING if left is None else "forever" if math.isinf(left) else round(left * 1000)


async def some_of(given: Mapping[str, Any], step: Step) -> Any:
    return {name: given[name] for name in step.get("gives", {})}


async def explain(run: Run, step: Step) -> Any:
    return await some_of(await run.cache.explain(step["key"]), step)


async def stats(run: Run, step: Step) -> Any:
    counted = run.cache.stats()
    return {name: getattr(counted, name) for name in step["gives"]}


async def warm(run: Run, step: Step) -> Any:
    async def load(key: str) -> Any:
        return step["loads_each"][key]

    report = await run.cache.warm(step["keys"], load, progress=False)
    return {name: getattr(report, name) for name in step["gives"]}


async def lock(run: Run, step: Step) -> None:
    held = run.cache.lock(step["name"], step["ttl"], step.get("wait", 0))
    run.keep(step, await held.__aenter__())


async def subscribe(run: Run, step: Step) -> None:
    run.keep(step, await run.cache.subscribe(*step["channels"]).__aenter__())


async def receive(run: Run, step: Step) -> Any:
    message = await anext(run.kept[step["from"]])
    return {"channel": message.channel, "data": message.data}


async def switch(run: Run, step: Step) -> None:
    run.cache.enabled = step["on"]


async def counted(call: Awaitable[int]) -> int:
    return int(await call)


async def done(_what: object) -> None:
    """For what is not awaited."""


CALLS_BY_NAME: dict[str, Call] = {
    "get": lambda run, step: run.cache.get(whole(step["key"]), NOTHING),
    "set": lambda run, step: run.cache.set(
        whole(step["key"]), whole(step["value"]), **run.terms(step, "ttl", "grace", "tags")
    ),
    "add": lambda run, step: run.cache.add(step["key"], step["value"], **run.terms(step, "ttl")),
    "exists": lambda run, step: run.cache.exists(step["key"]),
    "get_many": lambda run, step: run.cache.get_many(step["keys"]),
    "set_many": lambda run, step: run.cache.set_many(step["items"]),
    "delete": lambda run, step: counted(run.cache.delete(step["key"])),
    "delete_many": lambda run, step: counted(run.cache.delete_many(step["keys"])),
    "incr": lambda run, step: run.cache.incr(step["key"], step.get("by", 1), **run.terms(step, "ttl")),
    "ttl": ttl,
    "touch": lambda run, step: run.cache.touch(step["key"], **run.terms(step, "ttl")),
    "get_or_set": get_or_set,
    "get_or_set_many": get_or_set_many,
    "lookup": lookup,
    "fill": lambda run, step: run.cache.fill(run.kept[step["miss"]], step["value"], **run.terms(step, "tags")),
    "warm": warm,
    "loaded": lambda run, _: asyncio.sleep(0, run.loaded),
    "invalidate_pattern": lambda run, step: counted(run.cache.invalidate_pattern(whole(step["pattern"]))),
    "invalidate_tags": lambda run, step: run.cache.invalidate_tags(*step["tags"]),
    "clear": lambda run, _: counted(run.cache.clear()),
    "on": lambda run, step: done(run.cache.rules.on(step["event"], **run.terms(step, "keys", "patterns", "tags"))),
    "emit": lambda run, step: counted(run.cache.emit(step["event"], **step["about"])),
    "lock": lock,
    "extend": lambda run, step: run.kept[step["lock"]].extend(step["ttl"]),
    "release": lambda run, step: run.kept[step["lock"]].release(),
    "later": lambda run, step: asyncio.sleep(0, run.kept[step["is"]].fence > run.kept[step["than"]].fence),
    "publish": lambda run, step: run.cache.publish(step["channel"], step["message"]),
    "subscribe": subscribe,
    "receive": receive,
    "explain": explain,
    "stats": stats,
    "reset_stats": lambda run, _: done(run.cache.reset_stats()),
    "switch": switch,
    "ping": lambda run, _: run.cache.ping(),
}


def made(place: str, case: dict[str, Any], clock: ManualClock, request: pytest.FixtureRequest) -> Cache:
    names = {"ttls": "ttl_classes"}
    options: dict[str, Any] = {
        "early": 0.0,
        **{names.get(name, name): it for name, it in case.get("cache", {}).items()},
    }
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
    async with made(place, case, clock, request) as cache:
        await Run(cache, clock).steps(case["steps"])


def test_each_call_has_a_case() -> None:
    done = {step["do"] for _, case in CASES for step in case["steps"] if "do" in step}
    calls = {
        name for name in dir(Cache) if not name.startswith("_") and inspect.iscoroutinefunction(getattr(Cache, name))
    }
    assert calls - done <= {"connect", "close"}
    assert done <= CALLS_BY_NAME.keys()
