"""Warming, with errors that stop nothing."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from loaders import Loader

from donjon import Cache
from donjon._donjon import ManualClock

Spin = Callable[[], Awaitable[None]]


async def test_missing_keys_are_loaded_and_the_rest_is_left_alone(cache: Cache) -> None:
    async def loader(key: str) -> str:
        if key == "bad":
            raise LookupError(key)
        return key.upper()

    await cache.set("b", "kept")
    report = await cache.warm((key for key in ["a", "b", "bad", "c"]), loader, ttl=10, tags=["t"])
    assert (report.loaded, report.skipped, report.failed) == (2, 1, 1)
    assert isinstance(report.errors["bad"], LookupError)
    assert await cache.get_many(["a", "b", "bad", "c"]) == {"a": "A", "b": "kept", "c": "C"}
    assert await cache.ttl("a") == pytest.approx(10, abs=2)
    await cache.invalidate_tags("t")
    assert not await cache.exists("a")


async def test_items_are_stored(cache: Cache) -> None:
    report = await cache.warm({"a": 1, "b": object()}, ttl=10)
    assert (report.loaded, report.failed, list(report.errors)) == (1, 1, ["b"])
    assert (await cache.warm([("c", 3)])).loaded == 1
    assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "c": 3}


async def test_no_more_run_at_once_than_asked_for(cache: Cache, spin: Spin) -> None:
    running = most = 0

    async def loader(key: str) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await spin()
        running -= 1
        return 1

    report = await cache.warm([str(number) for number in range(20)], loader, concurrency=3)
    assert (report.loaded, most) == (20, 3)
    with pytest.raises(ValueError, match="concurrency"):
        await cache.warm([], loader, concurrency=0)


async def test_a_key_that_somebody_else_loads_is_loaded_once(cache: Cache, spin: Spin) -> None:
    calls = 0

    async def loader(key: str) -> int:
        nonlocal calls
        calls += 1
        await spin()
        return 1

    one, other = await asyncio.gather(cache.warm(["a"], loader), cache.warm(["a"], loader))
    assert calls == 1
    assert (one.loaded + other.loaded, one.skipped + other.skipped) == (1, 1)


async def test_a_cancelled_warming_leaves_nothing_running(cache: Cache) -> None:
    begun, ended = asyncio.Event(), []

    async def loader(key: str) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(key)

    warming = asyncio.create_task(cache.warm(["a", "b", "c"], loader, concurrency=2))
    await begun.wait()
    await asyncio.sleep(0)
    warming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await warming
    assert ended == ["a", "b"]
    assert cache.stats().flights == 0


@pytest.mark.memory
async def test_keys_that_cannot_be_had_end_the_warming_and_its_loads(cache: Cache) -> None:
    ended = []

    async def loader(key: str) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    def keys() -> Iterator[str]:
        yield "a"
        raise LookupError("no more keys")

    with pytest.raises(LookupError, match="no more keys"):
        await cache.warm(keys(), loader)
    assert ended == ["a"]
    assert cache.stats().flights == 0


async def test_a_stale_value_is_loaded_anew(cache: Cache, clock: ManualClock) -> None:
    await cache.set("a", "old", ttl=10, grace=60)
    clock.advance(11)
    assert (await cache.warm(["a"], lambda key: "new")).loaded == 1
    assert await cache.get("a") == "new"


def test_threads_warm_as_well(cache: Cache) -> None:
    meet = threading.Barrier(3, timeout=10)

    def loader(key: str) -> int:
        meet.wait()
        if key == "k5":
            raise LookupError
        return 1

    def keys() -> Iterator[str]:
        for number in range(9):
            threading.Event().wait(0.001)  # time enough for another thread to come in
            yield f"k{number}"

    report = cache.sync.warm(keys(), loader, concurrency=3)
    assert (report.loaded, report.failed, report.skipped) == (8, 1, 0)


async def test_a_bar_shows_only_where_somebody_watches(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        await cache.warm({"a": 1, "b": 2})
        assert ("warming" in stream.getvalue()) is shown
    monkeypatch.setattr(sys, "stderr", quiet := Terminal())
    await cache.warm({"a": 1}, progress=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    await cache.warm({"a": 1})
    assert quiet.getvalue() == ""
    monkeypatch.delitem(sys.modules, "rich.progress")
    await cache.warm({"a": 1})
    assert "warming" in quiet.getvalue()


async def test_one_of_many_processes_warms(cache: Cache) -> None:
    loader = Loader("warm")
    first = asyncio.create_task(cache.warm(["a"], lambda key: loader(), once="startup"))
    await loader.begun.wait()
    second = await cache.warm(["a", "b"], lambda key: "cold", once="startup")
    assert (second.elsewhere, second.loaded, second.skipped) == (True, 0, 0)
    assert (await asyncio.to_thread(cache.sync.warm, ["b"], lambda key: "cold", once="startup")).elsewhere
    assert (await cache.warm(["c"], lambda key: "other", once="another")).loaded == 1
    loader.go.set()
    report = await first
    assert (report.elsewhere, report.loaded) == (False, 1)
    assert (await cache.warm(["a"], lambda key: "cold", once="startup")).skipped == 1
    assert (await asyncio.to_thread(cache.sync.warm, ["b"], lambda key: "late", once="startup")).loaded == 1


async def test_what_ends_a_warming_lets_another_begin(cache: Cache) -> None:
    def keys() -> Iterator[str]:
        raise LookupError("no keys")
        yield

    with pytest.raises(LookupError):
        await cache.warm(keys(), lambda key: 1, once="startup")
    assert (await cache.warm(["a"], lambda key: 1, once="startup")).loaded == 1
