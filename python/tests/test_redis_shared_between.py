"""Locks and messages over Redis: what processes share besides values. Another cache is another process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import redis

from donjon import (
    BackendUnavailable,
    Cache,
    CacheClosed,
    InvalidTtl,
    LockLost,
    LockTimeout,
    Message,
    UnsupportedValue,
)
from redis_server import RedisServer

Start = Callable[..., RedisServer]


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str) -> Cache:
    return _cache(redis_server, namespace)


@pytest.fixture
def other(redis_server: RedisServer, namespace: str) -> Cache:
    return _cache(redis_server, namespace)


def _cache(server: RedisServer, namespace: str) -> Cache:
    # Patient: what is slow here is the machine that the tests run on.
    return Cache.redis(server.url, namespace=namespace, connect_timeout=5, command_timeout=5)


async def _until(is_so: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + 10
    while not await is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# -- locks


async def test_one_process_holds_it_and_the_next_gets_it_as_soon_as_it_is_free(shared: Cache, other: Cache) -> None:
    quickest = 10.0
    for _ in range(3):
        async with shared.lock("l", ttl=60) as held:
            with pytest.raises(LockTimeout):
                await other.lock("l", ttl=60, wait=0).__aenter__()
            waiting = asyncio.create_task(other.lock("l", ttl=60, wait=30).__aenter__())
            await asyncio.sleep(0.2)
            assert not waiting.done()
            start = time.monotonic()
        mine = await waiting
        quickest = min(quickest, time.monotonic() - start)
        assert mine.fence > held.fence
        assert not held.lost.is_set()
        await mine.release()
    assert quickest < 0.15


async def test_both_faces_exclude_each_other(shared: Cache) -> None:
    async with shared.lock("l", ttl=60) as held:
        with pytest.raises(LockTimeout):
            await asyncio.to_thread(shared.sync.lock("l", ttl=60, wait=0.1).__enter__)
        assert isinstance(held.token, int)
    with shared.sync.lock("l", ttl=60, wait=0) as mine:
        assert mine.fence > held.fence
        mine.extend(90)
        with pytest.raises(LockTimeout):
            await shared.lock("l", ttl=60, wait=0.05).__aenter__()
    with pytest.raises(LockLost):
        mine.release()
    async with shared.lock("l", ttl=60, wait=0):
        pass


def test_threads_of_two_processes_exclude_each_other(shared: Cache, other: Cache) -> None:
    inside = most = 0
    fences = []

    def work(cache: Cache) -> None:
        nonlocal inside, most
        for _ in range(5):
            with cache.sync.lock("l", ttl=60, wait=30) as held:
                inside += 1
                most = max(most, inside)
                fences.append(held.fence)
                inside -= 1

    threads = [threading.Thread(target=work, args=(cache,)) for cache in (shared, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert fences == sorted(set(fences))
    assert len(fences) == 20


async def test_a_held_lock_is_renewed_past_its_time(shared: Cache, other: Cache) -> None:
    async with shared.lock("l", ttl=1) as held:
        with pytest.raises(LockTimeout):
            await other.lock("l", ttl=60, wait=2.5).__aenter__()
        assert not held.lost.is_set()


async def test_a_lock_that_nobody_has_any_longer_runs_out(shared: Cache, other: Cache) -> None:
    await shared.lock("l", ttl=1).__aenter__()
    gc.collect()
    async with other.lock("l", ttl=60, wait=10):
        pass


async def test_27_what_is_no_lock_and_what_is_lost(
    shared: Cache, foreign: redis.Redis, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{namespace}!{{lock:l}}"
    with pytest.raises(InvalidTtl):
        shared.lock("l", ttl=0)
    lock = shared.lock("l", ttl=60)
    for use in (lock.release, lock.extend):
        with pytest.raises(LockLost):
            await use()
    async with lock:
        with pytest.raises(InvalidTtl):
            await lock.extend(0)
        await lock.extend("2m")
        assert 110_000 < foreign.pttl(name) <= 120_000
        await lock.release()
        with pytest.raises(LockLost):
            await lock.release()
        assert not lock.lost.is_set()
    # A renewal that is refused.
    async with shared.lock("l", ttl=1.5) as held:
        foreign.set(name, "another")
        await asyncio.wait_for(held.lost.wait(), 10)
        with pytest.raises(LockLost):
            await held.extend()
    assert foreign.get(name) == b"another"
    foreign.delete(name)
    with caplog.at_level(logging.WARNING, "donjon"):
        async with shared.lock("l", ttl=60) as held:
            foreign.set(name, "another")
    assert held.lost.is_set()
    assert "lock l was lost" in caplog.text
    assert foreign.get(name) == b"another"


async def test_a_lock_whose_redis_stands_still_is_lost_in_time(own_server: Start, namespace: str) -> None:
    server = own_server()
    cache = Cache.redis(server.url, namespace=namespace, connect_timeout=5, command_timeout=1)
    start = time.monotonic()
    async with cache.lock("l", ttl=2) as held:
        server.pause()
        try:
            await asyncio.wait_for(held.lost.wait(), 10)
            assert 1.5 < time.monotonic() - start < 2.5
            with pytest.raises(BackendUnavailable):
                await cache.lock("other", ttl=2).__aenter__()
        finally:
            server.resume()


async def test_who_gives_up_while_taking_a_lock_does_not_have_it(shared: Cache, other: Cache) -> None:
    for pause in range(20):
        taking = asyncio.create_task(shared.lock("l", ttl=600).__aenter__())
        for _ in range(pause % 7):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0002 * (pause % 5))
        taking.cancel()
        await asyncio.wait([taking])
        if not taking.cancelled():
            await taking.result().release()
        async with other.lock("l", ttl=600, wait=10):
            pass


async def test_closing_the_cache_ends_the_wait_for_a_lock(shared: Cache, other: Cache) -> None:
    async with other.lock("l", ttl=300):
        waiting = asyncio.create_task(shared.lock("l", ttl=300, wait=None).__aenter__())
        await asyncio.sleep(0.1)
        await shared.close()
        with pytest.raises(CacheClosed):
            await asyncio.wait_for(waiting, 10)


# -- messages


async def test_a_message_reaches_every_process_that_listens(shared: Cache, other: Cache) -> None:
    before = time.time()
    async with shared.subscribe("a", "b") as here, other.subscribe("a") as there:
        assert await shared.publish("a", {"n": [1]}) == 2
        assert await other.publish("b", None) == 1
        assert await other.publish("nobody", 1) == 0
        message = await here.__anext__()
        assert isinstance(message, Message)
        assert message[:2] == ("a", {"n": [1]})
        assert before <= message.received_at <= time.time()
        assert (await here.__anext__())[:2] == ("b", None)
        assert (await there.__anext__()).data == {"n": [1]}
        assert await other.publish("a", b"\x00\xff") == 2
        assert (await there.__anext__()).data == b"\x00\xff"


async def test_nothing_is_lost_between_subscribing_and_listening(shared: Cache) -> None:
    subscription = shared.subscribe("a")
    for number in range(3):
        await shared.publish("a", number)
    got = []
    async for message in subscription:
        got.append(message.data)
        if len(got) == 3:
            break
    assert got == [0, 1, 2]


async def test_others_may_send_what_is_no_json(shared: Cache, foreign: redis.Redis, namespace: str) -> None:
    async with shared.subscribe("a*") as subscription:
        assert foreign.publish(f"{namespace}!ch:ab", "1") == 0
        assert foreign.publish(f"{namespace}!ch:a*", '{"id": 5}') == 1
        assert foreign.publish(f"{namespace}!ch:a*", "plain text") == 1
        assert (await subscription.__anext__()).data == {"id": 5}
        assert (await subscription.__anext__()).data == b"plain text"
    with pytest.raises(UnsupportedValue):
        await shared.publish("a", object())


async def test_who_gives_up_waiting_loses_no_message(shared: Cache, other: Cache) -> None:
    async with shared.subscribe("a") as subscription:
        got = []
        for number in range(50):
            await other.publish("a", number)
            while len(got) <= number:
                with contextlib.suppress(asyncio.TimeoutError):
                    got.append((await asyncio.wait_for(subscription.__anext__(), 0.0005)).data)
        assert got == list(range(50))


async def test_a_slow_listener_loses_the_oldest_and_knows_how_many(shared: Cache, other: Cache) -> None:
    async with shared.subscribe("a", limit=3) as slow:
        for number in range(8):
            await other.publish("a", number)

        async def five_are_lost() -> bool:
            return slow.dropped == 5

        await _until(five_are_lost)
        assert [(await slow.__anext__()).data for _ in range(3)] == [5, 6, 7]


async def test_after_a_restart_all_is_listened_to_again(own_server: Start, namespace: str) -> None:
    server = own_server()
    shared, other = _cache(server, namespace), _cache(server, namespace)
    async with shared.subscribe("a") as subscription:
        await asyncio.to_thread(server.restart)

        async def heard() -> bool:
            try:
                return await other.publish("a", 1) == 1
            except BackendUnavailable:
                return False

        await _until(heard)
        assert (await asyncio.wait_for(subscription.__anext__(), 10)).data == 1
        assert subscription.gaps == 1


async def test_closing_ends_the_iteration_also_of_one_who_waits(shared: Cache, other: Cache) -> None:
    async def listen() -> list[object]:
        return [message.data async for message in subscription]

    async with shared.subscribe("a") as subscription:
        await other.publish("a", 1)
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.1)
    assert await asyncio.wait_for(listening, 10) == [1]

    async def nobody_listens() -> bool:
        return await other.publish("a", 2) == 0

    await _until(nobody_listens)
    one = shared.subscribe("a")
    reading = asyncio.create_task(asyncio.to_thread(list, shared.sync.subscribe("a")))
    await asyncio.sleep(0.1)
    await shared.close()
    assert [message async for message in one] == []
    assert await asyncio.wait_for(reading, 10) == []


def test_the_blocking_face_listens_with_a_time_out(shared: Cache, other: Cache) -> None:
    with shared.sync.subscribe("a") as subscription:
        assert subscription.next(timeout=0.01) is None
        assert other.sync.publish("a", 1) == 1
        message = subscription.next(timeout=10)
        assert message is not None
        assert message.data == 1
    assert list(subscription) == []


async def test_without_redis_a_lock_and_a_message_are_errors_and_listening_waits(
    own_server: Start, namespace: str
) -> None:
    server = own_server()
    shared = _cache(server, namespace)
    await asyncio.to_thread(server.kill)
    with pytest.raises(BackendUnavailable):
        await shared.lock("l", ttl=60).__aenter__()
    with pytest.raises(BackendUnavailable):
        await shared.publish("a", 1)
    async with shared.subscribe("a") as subscription:
        await asyncio.to_thread(server.restart)
        other = _cache(server, namespace)

        async def heard() -> bool:
            return await other.publish("a", 1) == 1

        await _until(heard)
        assert (await asyncio.wait_for(subscription.__anext__(), 10)).data == 1
