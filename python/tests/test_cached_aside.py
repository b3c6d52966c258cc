"""Loads beside those who ask: in the background, past a caller's patience, and no longer than they may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends, Request
from loaders import until
from sqlalchemy.ext.asyncio import AsyncSession

from donjon import Cache, ConfigError, LoadTimeout
from donjon._donjon import ManualClock

INJECTED: Any = Depends(print)


class Source:
    """A source that answers when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def load(self) -> int:
        self.calls += 1
        call = self.calls
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return call


async def test_nobody_waits_for_a_refresh_in_the_background(clock: ManualClock, cache: Cache) -> None:
    source = Source()

    @cache.cached("k", ttl=10, grace=100, refresh="background")
    async def function() -> int:
        return await source.load()

    assert await function() == 1
    clock.advance(10)
    source.gate.clear()
    assert [await function() for _ in range(3)] == [1, 1, 1]
    await until(lambda: source.calls == 2)
    source.gate.set()
    await until(lambda: not cache._memory.aside)
    assert await function() == 2
    assert source.calls == 2


async def test_a_first_load_and_one_that_was_asked_for_are_waited_for(clock: ManualClock, cache: Cache) -> None:
    source = Source()

    @cache.cached("k", ttl=10, grace=100, refresh="background")
    async def function() -> int:
        return await source.load()

    assert await function() == 1
    clock.advance(10)
    assert await function.refresh() == 2
    await function.invalidate()
    assert await function() == 3


async def test_a_refresh_in_the_background_that_fails_leaves_the_stale_value(
    clock: ManualClock, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source()

    @cache.cached("k", ttl=10, grace=100, refresh="background")
    async def function() -> int:
        return await source.load()

    await function()
    clock.advance(10)
    source.error = KeyError("hush")
    with caplog.at_level(logging.WARNING, "donjon"):
        assert await function() == 1
        await until(lambda: not cache._memory.aside)
    assert cache.stats().stale_on_error == 1
    assert "hush" not in caplog.text
    source.error = None
    assert await function() == 1
    await until(lambda: not cache._memory.aside)
    assert await function() == 3


async def test_a_refresh_in_the_background_outlives_the_caller_and_not_the_cache(
    clock: ManualClock, cache: Cache, spin: Callable[[], Awaitable[None]]
) -> None:
    source = Source()

    @cache.cached("k", ttl=10, grace=100, refresh="background")
    async def function() -> int:
        return await source.load()

    await function()
    clock.advance(10)
    source.gate.clear()
    caller = asyncio.create_task(function())
    assert await caller == 1
    (task,) = cache._memory.aside
    await spin()
    await cache.close()
    assert task.cancelled()


async def test_who_is_out_of_patience_gets_what_is_stale(clock: ManualClock, cache: Cache) -> None:
    source = Source()

    @cache.cached("k", ttl=10, grace=100, soft_timeout=0.01)
    async def function() -> int:
        return await source.load()

    assert await function() == 1
    clock.advance(10)
    source.gate.clear()
    assert await function() == 1
    source.gate.set()
    await until(lambda: not cache._memory.aside)
    assert await function() == 2
    clock.advance(10)
    assert await function() == 3


async def test_where_nothing_is_stale_patience_does_not_end(cache: Cache, spin: Callable[[], Awaitable[None]]) -> None:
    source = Source()
    source.gate.clear()

    @cache.cached("k", ttl=10, grace=100, soft_timeout=0.001)
    async def function() -> int:
        return await source.load()

    task = asyncio.create_task(function())
    await spin()
    source.gate.set()
    assert await task == 1


async def test_a_load_takes_no_longer_than_it_may(clock: ManualClock, cache: Cache) -> None:
    source = Source()
    source.gate.clear()

    @cache.cached("k", ttl=10, grace=100, timeout=0.01)
    async def function() -> int:
        return await source.load()

    with pytest.raises(LoadTimeout, match=r"function.*timeout.*0\.01"):
        await function()
    source.gate.set()
    assert await function() == 2
    clock.advance(10)
    source.gate.clear()
    assert await function() == 2
    assert cache.stats().stale_on_error == 1


async def test_a_timeout_of_the_loader_itself_is_its_own_error(cache: Cache) -> None:
    @cache.cached("k", timeout=10)
    async def function() -> int:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine") as raised:
        await function()
    assert type(raised.value) is TimeoutError


def test_what_ends_with_the_request_is_not_used_beside_it(cache: Cache) -> None:
    async def with_session(session: AsyncSession) -> int:
        return 1

    async def with_request(request: Request) -> int:
        return 1

    async def with_dependency(user: Annotated[Any, Depends(print)]) -> int:
        return 1

    async def with_old_dependency(user: Any = INJECTED) -> int:
        return 1

    options: list[dict[str, Any]] = [{"refresh": "background"}, {"soft_timeout": 1.0}]
    for option in options:
        for function in (with_session, with_request, with_dependency, with_old_dependency):
            with pytest.raises(ConfigError, match=f"{next(iter(option))}|session|request|user"):
                cache.cached("k", grace=10, **option)(function)

    for function in (with_session, with_request):
        cache.cached("k", grace=10, timeout=1.0)(function)


def test_bad_timing_is_refused_where_it_is_written(cache: Cache) -> None:
    async def function() -> int:
        return 1

    def blocking() -> int:
        return 1

    options: list[dict[str, Any]] = [
        {"refresh": "background"},
        {"soft_timeout": 1.0},
        {"refresh": "later"},
        *({name: bad} for name in ("timeout", "soft_timeout") for bad in (0, -1, True, float("inf"), float("nan"))),
    ]
    for option in options:
        grace = {} if option in options[:2] else {"grace": 10}
        with pytest.raises(ConfigError, match="|".join(option)):
            cache.cached("k", **option, **grace)(function)
    for option in ({"refresh": "background"}, {"soft_timeout": 1.0}, {"timeout": 1.0}):
        with pytest.raises(ConfigError, match="async def"):
            cache.cached("k", grace=10, **option)(blocking)  # type: ignore[call-overload]
