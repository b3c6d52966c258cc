"""What the tests of the Python package share."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator

import pytest
from loaders import PATIENT

from donjon import Cache
from donjon._donjon import ManualClock
from redis_server import RedisServer

pytest_plugins = ["donjon.testing", "redis_fixtures"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What a cache does is tested on every backend; what needs time moved by hand, or says so, in memory alone."""
    if "backend" in metafunc.fixturenames:
        parameters = inspect.signature(metafunc.function).parameters
        alone = "clock" in parameters or metafunc.definition.get_closest_marker("memory")
        metafunc.parametrize("backend", ["memory"] if alone else ["memory", "redis"])


@pytest.fixture
def cache(backend: str, clock: ManualClock, request: pytest.FixtureRequest) -> Iterator[Cache]:
    """A cache; in memory its time stands still, and it is counted over after the test."""
    if backend == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        yield Cache.redis(server.url, namespace=request.getfixturevalue("namespace"), early=0.0, **PATIENT)
        return
    cache = Cache.memory(clock=clock, early=0.0)
    yield cache
    if not cache._memory.closed:
        cache._memory.core.validate()


@pytest.fixture
def spin(request: pytest.FixtureRequest) -> Callable[[], Awaitable[None]]:
    """Lets every task run until it waits for something other than Redis, which answers in the order it is asked."""
    on_redis = "backend" in request.fixturenames and request.getfixturevalue("backend") == "redis"

    async def spin() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        for _ in range(5 if on_redis else 0):
            await request.getfixturevalue("cache").ping()

    return spin
