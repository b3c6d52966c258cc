"""Messages between those in one process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from donjon import Cache, Message, UnsupportedValue

Spin = Callable[[], Awaitable[None]]

pytestmark = pytest.mark.memory


async def test_a_message_reaches_everyone_who_listens_on_its_channel(cache: Cache) -> None:
    one, both, other = cache.subscribe("a"), cache.subscribe("a", "b"), cache.subscribe("c")
    before = time.time()
    assert await cache.publish("a", {"n": [1]}) == 2
    assert await cache.publish("b", None) == 1
    assert await cache.publish("nobody", 1) == 0
    message = await one.__anext__()
    assert (message.channel, message.data) == ("a", {"n": [1]})
    assert before <= message.received_at <= time.time()
    assert [(await both.__anext__())[:2], (await both.__anext__())[:2]] == [("a", {"n": [1]}), ("b", None)]
    await other.close()


async def test_each_listener_has_its_own_copy(cache: Cache) -> None:
    one, other = cache.subscribe("a"), cache.subscribe("a")
    sent = {"n": [1]}
    await cache.publish("a", sent)
    sent["n"].append(2)
    (await one.__anext__()).data["n"].append(3)
    assert (await other.__anext__()).data == {"n": [1]}


async def test_nothing_is_lost_between_subscribing_and_listening(cache: Cache) -> None:
    subscription = cache.subscribe("a")
    for number in range(3):
        await cache.publish("a", number)
    got = []
    async for message in subscription:
        assert isinstance(message, Message)
        got.append(message.data)
        if len(got) == 3:
            break
    assert got == [0, 1, 2]


async def test_who_waits_is_woken(cache: Cache, spin: Spin) -> None:
    subscription = cache.subscribe("a")
    waiting = asyncio.create_task(subscription.__anext__())
    await spin()
    await cache.publish("a", 1)
    assert (await waiting).data == 1
    waiting = asyncio.create_task(subscription.__anext__())
    await spin()
    waiting.cancel()
    await spin()
    await cache.publish("a", 2)
    assert (await subscription.__anext__()).data == 2


async def test_a_thread_wakes_a_task_and_a_task_a_thread(cache: Cache) -> None:
    subscription = cache.subscribe("a")
    asyncio.get_running_loop().set_debug(True)  # the loop then refuses what another thread may not do
    thread = threading.Thread(target=cache.sync.publish, args=("a", 1))
    waiting = asyncio.create_task(subscription.__anext__())
    await asyncio.sleep(0)
    thread.start()
    assert (await asyncio.wait_for(waiting, 10)).data == 1
    thread.join()
    blocking = cache.sync.subscribe("b")
    reading = asyncio.create_task(asyncio.to_thread(next, blocking))
    await cache.publish("b", 2)
    assert (await asyncio.wait_for(reading, 10)).data == 2


async def test_closing_ends_the_iteration_also_of_one_who_waits(cache: Cache, spin: Spin) -> None:
    async def listen() -> list[object]:
        return [message.data async for message in subscription]

    async with cache.subscribe("a") as subscription:
        await cache.publish("a", 1)
        listening = asyncio.create_task(listen())
        await spin()
    assert await asyncio.wait_for(listening, 10) == [1]
    assert await cache.publish("a", 2) == 0
    await subscription.close()
    assert [message async for message in subscription] == []


async def test_a_slow_listener_loses_the_oldest_and_knows_how_many(cache: Cache) -> None:
    slow = cache.subscribe("a", limit=3)
    for number in range(5):
        await cache.publish("a", number)
    assert slow.dropped == 2
    assert [(await slow.__anext__()).data for _ in range(3)] == [2, 3, 4]


async def test_a_listener_that_is_gone_is_not_counted(cache: Cache) -> None:
    subscription = cache.subscribe("a")
    assert await cache.publish("a", 1) == 1
    del subscription
    assert await cache.publish("a", 1) == 0


async def test_closing_the_cache_ends_its_subscriptions(cache: Cache) -> None:
    idle, busy = cache.subscribe("a"), cache.subscribe("a")
    waiting = asyncio.create_task(busy.__anext__())
    reading = asyncio.create_task(asyncio.to_thread(list, cache.sync.subscribe("a")))
    await asyncio.sleep(0)
    await cache.close()
    assert [message async for message in idle] == []
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 10)
    assert await asyncio.wait_for(reading, 10) == []


def test_the_blocking_face_listens_with_a_time_out(cache: Cache) -> None:
    with cache.sync.subscribe("a") as subscription:
        assert subscription.next(timeout=0.001) is None
        assert cache.sync.publish("a", 1) == 1
        message = subscription.next(timeout=10)
        assert message is not None
        assert message.data == 1
    assert list(subscription) == []
    assert cache.sync.publish("a", 1) == 0


async def test_what_has_no_json_form_is_no_message(cache: Cache) -> None:
    subscription = cache.subscribe("a")
    with pytest.raises(UnsupportedValue):
        await cache.publish("a", object())
    await cache.publish("a", 1)
    assert (await subscription.__anext__()).data == 1
    with pytest.raises(ValueError, match="channel"):
        cache.subscribe()
