"""Locks: one holder, renewed while it lives, never another's to release."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from donjon import Cache, CacheClosed, LockError, LockLost, LockTimeout
from donjon._donjon import ManualClock

Spin = Callable[[], Awaitable[None]]


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a lock asked the event loop to do later; the test does it."""
    alarms: list[Any] = []

    class Alarm:
        def __init__(self, seconds: float, callback: Callable[..., Any], *args: Any) -> None:
            self.seconds, self.callback, self.args = seconds, callback, args
            alarms.append(self)

        def __call__(self) -> None:
            self.callback(*self.args)

        def cancel(self) -> None:
            if self in alarms:
                alarms.remove(self)

    class Loop:
        call_later = staticmethod(Alarm)

    monkeypatch.setattr("donjon._lock.asyncio.get_running_loop", Loop)
    return alarms


async def test_one_holds_it_and_the_next_gets_it_when_it_is_free(cache: Cache, spin: Spin) -> None:
    order = []

    async def work(name: str) -> None:
        async with cache.lock("l", ttl=300, wait=None) as held:
            order.append((name, held.fence))
            await spin()
            order.append((name, held.fence))

    await asyncio.gather(*(work(name) for name in "abc"))
    assert [name for name, _ in order[::2]] == [name for name, _ in order[1::2]] == ["a", "b", "c"]
    fences = [fence for _, fence in order]
    assert fences == sorted(fences)
    assert len(set(fences)) == 3


async def test_locks_of_other_names_are_not_in_the_way(cache: Cache) -> None:
    async with cache.lock("a", ttl=300), cache.lock("b", ttl=300, wait=0) as held:
        assert held.token
        assert "held" in repr(held)


async def test_who_waited_long_enough_gives_up(cache: Cache) -> None:
    async with cache.lock("l", ttl=300):
        for wait in (0, 0.01):
            with pytest.raises(LockTimeout, match="lock l"):
                async with cache.lock("l", ttl=300, wait=wait):
                    raise AssertionError
        with pytest.raises(TimeoutError):
            cache.sync.lock("l", ttl=300, wait=0).__enter__()
    async with cache.lock("l", ttl=300, wait=0):
        pass


async def test_nobody_enters_twice(cache: Cache) -> None:
    lock = cache.lock("l", ttl=300, wait=0)
    async with lock:
        with pytest.raises(LockTimeout):
            await cache.lock("l", ttl=300, wait=0).__aenter__()
        with pytest.raises(RuntimeError, match="this very object"):
            await lock.__aenter__()
        with pytest.raises(LockTimeout):
            await cache.lock("l", ttl=300, wait=0).__aenter__()
    async with lock:
        pass


async def test_an_error_in_the_block_frees_the_lock(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        async with cache.lock("l", ttl=300):
            raise ZeroDivisionError
    async with cache.lock("l", ttl=300, wait=0):
        pass


async def test_a_cancelled_waiter_leaves_no_trace(cache: Cache, spin: Spin) -> None:
    lock = cache.lock("l", ttl=300)
    await lock.__aenter__()
    waiters = [asyncio.create_task(cache.lock("l", ttl=300, wait=None).__aenter__()) for _ in range(3)]
    await spin()
    waiters[0].cancel()
    await lock.release()
    await spin()
    held = [waiter for waiter in waiters if waiter.done() and not waiter.cancelled()]
    assert len(held) == 1
    await held[0].result().release()
    await spin()
    assert [waiter.done() for waiter in waiters] == [True] * 3
    await waiters[2].result().release()


async def test_a_held_lock_is_renewed_past_its_time(cache: Cache, clock: ManualClock, alarms: list[Any]) -> None:
    async with cache.lock("l", ttl=30) as held:
        for _ in range(5):
            clock.advance(25)
            assert alarms[0].seconds == pytest.approx(10)
            alarms.pop()()
        assert not held.lost.is_set()
        with pytest.raises(LockTimeout):
            cache.sync.lock("l", ttl=30, wait=0).__enter__()
    assert not alarms


async def test_a_lock_that_was_not_renewed_in_time_is_lost(
    cache: Cache, clock: ManualClock, alarms: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with cache.lock("l", ttl=30) as held:
        clock.advance(31)
        assert not held.lost.is_set()
        alarms.pop()()
        await held.lost.wait()
        assert not alarms
        with pytest.raises(LockLost):
            await held.release()
    assert not caplog.messages


async def test_a_lock_that_was_lost_unnoticed_is_told_of_at_the_end(
    cache: Cache, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "donjon"):
        async with cache.lock("l", ttl=30) as held:
            clock.advance(31)
            other = cache.lock("l", ttl=30, wait=0)
            await other.__aenter__()
    assert held.lost.is_set()
    assert "lock l was lost" in caplog.text
    await other.release()


async def test_a_lock_that_nobody_has_any_longer_runs_out(cache: Cache, clock: ManualClock, alarms: list[Any]) -> None:
    await cache.lock("l", ttl=30).__aenter__()
    gc.collect()
    alarms.pop()()
    assert not alarms
    clock.advance(31)
    async with cache.lock("l", ttl=30, wait=0):
        pass


async def test_extend_starts_the_time_anew(cache: Cache, clock: ManualClock) -> None:
    async with cache.lock("l", ttl=30) as held:
        clock.advance(20)
        await held.extend()
        clock.advance(20)
        await held.extend("5m")
        clock.advance(290)
        assert not held.lost.is_set()
        await held.release()
        with pytest.raises(LockLost):
            await held.extend()


async def test_extending_to_a_shorter_time_renews_sooner(cache: Cache, clock: ManualClock, alarms: list[Any]) -> None:
    async with cache.lock("l", ttl=300) as held:
        await held.extend(3)
        assert [alarm.seconds for alarm in alarms] == [pytest.approx(1)]
        clock.advance(2)
        alarms.pop()()
        clock.advance(2)
        assert len(alarms) == 1
        await held.release()


async def test_a_lock_is_lost_only_by_who_held_it(cache: Cache, clock: ManualClock) -> None:
    lock = cache.lock("l", ttl=30)
    for use in (lock.release, lock.extend):
        with pytest.raises(LockLost):
            await use()
    assert not lock.lost.is_set()
    async with lock:
        await lock.release()
        with pytest.raises(LockLost):
            await lock.release()
        assert not lock.lost.is_set()
    async with lock:
        clock.advance(31)
        with pytest.raises(LockLost):
            await lock.release()
        assert lock.lost.is_set()
    async with lock:
        assert not lock.lost.is_set()


async def test_a_waiter_takes_over_when_the_holders_time_is_over(cache: Cache) -> None:
    real_time = Cache.memory()
    held = real_time.sync.lock("l", ttl=0.02)
    held.__enter__()
    async with real_time.lock("l", ttl=30, wait=10) as mine:
        assert mine.fence > held.fence
        with pytest.raises(LockLost):
            held.release()
        assert not mine.lost.is_set()


async def test_a_closed_cache_holds_no_locks(cache: Cache) -> None:
    await cache.connect()
    async with cache.lock("l", ttl=30) as held:
        await cache.close()
        with pytest.raises(LockLost):
            await held.release()


async def test_closing_the_cache_ends_the_wait_for_a_lock(cache: Cache, spin: Spin) -> None:
    async with cache.lock("l", ttl=300):
        waiter = asyncio.create_task(cache.lock("l", ttl=300, wait=None).__aenter__())
        await spin()
        await cache.close()
        with pytest.raises(CacheClosed):
            await asyncio.wait_for(waiter, 10)


@pytest.mark.memory
async def test_a_lock_that_was_released_is_not_renewed(cache: Cache, alarms: list[Any]) -> None:
    for _ in range(3):
        async with cache.lock("l", ttl=30):
            assert len(alarms) == 1
        assert not alarms


def test_threads_exclude_each_other() -> None:
    cache = Cache.memory().sync
    inside = most = 0
    entered = []

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with cache.lock("l", ttl=300, wait=30) as held:
                inside += 1
                most = max(most, inside)
                entered.append(held.fence)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1
    assert entered == sorted(entered)
    assert len(set(entered)) == 80


def test_the_blocking_lock_extends_and_releases(cache: Cache, clock: ManualClock) -> None:
    with cache.sync.lock("l", ttl=30) as held:
        held.extend(60)
        clock.advance(50)
        held.release()
        with pytest.raises(LockError):
            held.release()
        assert not held.lost.is_set()


@pytest.mark.parametrize("wait", [-1, float("nan")])
def test_a_wait_is_not_negative(cache: Cache, wait: float) -> None:
    with pytest.raises(ValueError, match="wait"):
        cache.lock("l", ttl=30, wait=wait)


def test_a_lock_has_a_name(cache: Cache) -> None:
    with pytest.raises(ValueError, match="key"):
        cache.lock("", ttl=30)
