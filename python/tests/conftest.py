"""What the tests of the Python package share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from donjon import Cache
from donjon._donjon import ManualClock

pytest_plugins = ["donjon.testing", "redis_fixtures"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> Iterator[Cache]:
    """A cache whose time stands still; counted over after the test."""
    cache = Cache.memory(clock=clock, early=0.0)
    yield cache
    if not cache._memory.closed:
        cache._memory.core.validate()


@pytest.fixture
def spin() -> Callable[[], Awaitable[None]]:
    """Lets every task run until it waits for something."""

    async def spin() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    return spin
