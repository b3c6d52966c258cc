"""Locks and messages between processes: what the tests of the memory backend say of them holds over Redis, as far as it can."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator

import pytest
import redis
from loaders import PATIENT
from other_process import OtherProcess

from donjon import BackendUnavailable, Cache, LockLost, LockTimeout
from redis_server import RedisServer


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str) -> Cache:
    return Cache.redis(redis_server.url, namespace=namespace, **PATIENT)


@pytest.fixture
def other(redis_server: RedisServer, namespace: str) -> Iterator[OtherProcess]:
    with OtherProcess(redis_server.url, namespace) as process:
        yield process


async def test_a_lock_excludes_another_process_and_fences_grow(shared: Cache, other: OtherProcess) -> None:
    enter = "(state.update(lock=cache.lock('l', 10, 0)), await state['lock'].__aenter__())[1].fence"
    async with shared.lock("l", ttl=10) as held:
        with pytest.raises(AssertionError, match="LockTimeout"):
            await asyncio.to_thread(other.ask, enter)
        with pytest.raises(LockTimeout):
            shared.sync.lock("l", ttl=10, wait=0).__enter__()
    assert await asyncio.to_thread(other.ask, enter) > held.fence
    with pytest.raises(LockTimeout):
        async with shared.lock("l", ttl=10, wait=0.1):
            pass
    other.tell("await state['lock'].release()")
    async with shared.lock("l", ttl=10, wait=5) as again:
        assert again.fence > held.fence + 1


async def test_who_waits_is_told_when_the_lock_is_free(shared: Cache) -> None:
    order = []

    async def work(name: str) -> None:
        async with shared.lock("l", ttl=30, wait=20):
            order.append(name)
            await asyncio.sleep(0.01)

    begun = time.monotonic()
    await asyncio.gather(*(work(str(number)) for number in range(5)))
    assert sorted(order) == list("01234")
    assert time.monotonic() - begun < 10


async def test_row_27_only_the_holder_releases_and_only_once(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    held = shared.lock("l", ttl=10)
    await held.__aenter__()
    await held.release()
    for call in (held.release, held.extend):
        with pytest.raises(LockLost):
            await call()
    lost = shared.lock("l", ttl=10)
    await lost.__aenter__()
    foreign.delete(f"{namespace}!{{lock:l}}")
    async with shared.lock("l", ttl=10, wait=0) as another:
        with pytest.raises(LockLost):
            await lost.extend()
        assert lost.lost.is_set()
        with pytest.raises(LockLost):
            await lost.release()
        await another.extend(20)
        assert 15_000 < foreign.pttl(f"{namespace}!{{lock:l}}") <= 20_000


async def test_row_27_a_lock_is_renewed_and_its_loss_is_noticed(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    name = f"{namespace}!{{lock:l}}"
    held = shared.lock("l", ttl=0.6)
    await held.__aenter__()
    await asyncio.sleep(1.2)
    assert foreign.exists(name) and not held.lost.is_set()
    foreign.set(name, "of somebody else")
    await asyncio.wait_for(held.lost.wait(), 5)
    with pytest.raises(LockLost):
        await held.release()
    assert foreign.get(name) == b"of somebody else"


async def test_a_lock_that_nobody_can_release_runs_out(shared: Cache, foreign: redis.Redis, namespace: str) -> None:
    lock = shared.lock("l", ttl=0.5)
    await lock.__aenter__()
    del lock
    gc.collect()
    await asyncio.sleep(0.1)
    async with shared.lock("l", ttl=1, wait=5):
        pass


async def test_a_cancelled_caller_leaves_no_lock_behind(shared: Cache) -> None:
    await shared.ping()
    for turns in range(30):
        caller = asyncio.create_task(shared.lock("l", ttl=30, wait=None).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await caller).release()
    async with shared.lock("l", ttl=30, wait=5):
        pass


def test_threads_exclude_each_other(shared: Cache) -> None:
    with shared.sync.lock("l", ttl=10) as held:
        with pytest.raises(LockTimeout):
            shared.sync.lock("l", ttl=10, wait=0.05).__enter__()
        held.extend()
    with shared.sync.lock("l", ttl=10, wait=0):
        pass


async def test_without_redis_there_are_no_locks_and_no_messages() -> None:
    away = Cache.redis("redis://127.0.0.1:1")
    with pytest.raises(BackendUnavailable):
        async with away.lock("l", ttl=10):
            pass
    with pytest.raises(BackendUnavailable):
        await away.publish("c", 1)
    with pytest.raises(BackendUnavailable):
        away.sync.publish("c", 1)


async def test_a_message_reaches_tasks_threads_and_other_processes(shared: Cache, other: OtherProcess) -> None:
    await asyncio.to_thread(
        other.ask, "[state.update(heard=cache.subscribe('c')), await state['heard'].__aenter__(), None][2]"
    )
    other.tell("list(await state['heard'].__anext__())[:2]")
    in_thread = shared.sync.subscribe("c", "d")
    with in_thread:
        async with shared.subscribe("c") as listening:
            assert await shared.publish("c", {"n": [1]}) >= 1
            message = await asyncio.wait_for(listening.__anext__(), 5)
            assert (message.channel, message.data) == ("c", {"n": [1]})
            assert message.received_at == pytest.approx(time.time(), abs=30)
        assert (await asyncio.to_thread(in_thread.next, 5)).data == {"n": [1]}  # type: ignore[union-attr]
        assert await asyncio.to_thread(in_thread.next, 0.05) is None
    assert await asyncio.to_thread(other.answer) == ["c", {"n": [1]}]


async def test_a_slow_listener_loses_the_oldest(shared: Cache) -> None:
    async with shared.subscribe("c", limit=2) as slow, shared.subscribe("c") as quick:
        for number in range(4):
            await shared.publish("c", number)
        assert [(await asyncio.wait_for(quick.__anext__(), 5)).data for _ in range(4)] == [0, 1, 2, 3]
        assert [(await asyncio.wait_for(slow.__anext__(), 5)).data for _ in range(2)] == [2, 3]
        assert slow.dropped == 2
        await shared.publish("c", b"raw")
        assert (await asyncio.wait_for(quick.__anext__(), 5)).data == b"raw"


async def test_a_cancelled_reader_loses_no_message(shared: Cache) -> None:
    async with shared.subscribe("c") as listening:
        heard = []
        for number in range(20):
            reader = asyncio.create_task(listening.__anext__())
            await asyncio.sleep(0)
            await shared.publish("c", number)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                heard.append((await reader).data)
        while len(heard) < 20:
            heard.append((await asyncio.wait_for(listening.__anext__(), 5)).data)
        assert heard == list(range(20))


async def test_closing_ends_who_listens(shared: Cache) -> None:
    listening = shared.subscribe("c")
    reader = asyncio.create_task(listening.__anext__())
    await asyncio.sleep(0.05)
    await shared.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(reader, 5)
