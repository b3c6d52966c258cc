"""Channels under the very name that Redis has for them: `raw=True`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from loaders import PATIENT

from donjon import Cache, InvalidKey
from redis_server import RedisServer


async def test_an_own_and_a_literal_channel_of_one_name_do_not_hear_each_other(cache: Cache) -> None:
    async with cache.subscribe("a") as own, cache.subscribe("a", raw=True) as literal:
        assert await cache.publish("a", "own") == 1
        assert await cache.publish("a", "literal", raw=True) == 1
        assert [(await own.__anext__())[:2], (await literal.__anext__())[:2]] == [("a", "own"), ("a", "literal")]


def test_the_blocking_face_has_literal_channels_too(cache: Cache) -> None:
    with cache.sync.subscribe("b", "c", raw=True) as literal, cache.sync.subscribe("b") as own:
        assert cache.sync.publish("b", {"n": 1}, raw=True) == 1
        assert cache.sync.publish("b", "own") == 1
        assert cache.sync.publish("c", 2, raw=True) == 1
        messages = [literal.next(timeout=10), literal.next(timeout=10), own.next(timeout=10)]
        assert [message and message[:2] for message in messages] == [("b", {"n": 1}), ("c", 2), ("b", "own")]


@pytest.mark.parametrize(
    ("channel", "error", "says"),
    [("", InvalidKey, "empty"), ("x" * 1025, InvalidKey, "1024"), (1, TypeError, "str"), (b"a", TypeError, "str")],
)
async def test_what_is_no_name_is_refused_as_a_literal_one_too(
    cache: Cache, channel: Any, error: type[Exception], says: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: cache.subscribe("a", channel, raw=True),
        lambda: cache.sync.subscribe(channel, raw=True),
        lambda: cache.sync.publish(channel, 1, raw=True),
    ]
    for call in calls:
        with pytest.raises(error, match=says):
            call()
    with pytest.raises(error, match=says):
        await cache.publish(channel, 1, raw=True)


async def test_raw_is_true_or_false_and_nothing_else(cache: Cache) -> None:
    no_bool: Any = "yes"
    with pytest.raises(TypeError):
        cache.subscribe("a", raw=no_bool)
    with pytest.raises(TypeError):
        await cache.publish("a", 1, raw=no_bool)
    with pytest.raises(ValueError, match="at least one channel"):
        cache.subscribe(raw=True)


async def test_who_knows_nothing_of_donjon_is_heard_and_hears(
    redis_server: RedisServer, namespace: str, foreign: redis.Redis
) -> None:
    channel = f"{namespace}:elsewhere*"
    shared = Cache.redis(redis_server.url, namespace=namespace, **PATIENT)
    async with shared, shared.subscribe(channel, raw=True) as listening:
        # A name with a star is no pattern.
        assert foreign.publish(f"{channel}s", "1") == 0
        assert foreign.publish(channel, '{"id": 5}') == 1
        assert foreign.publish(channel, "plain text") == 1
        assert (await listening.__anext__())[:2] == (channel, {"id": 5})
        assert (await listening.__anext__()).data == b"plain text"
        with foreign.pubsub() as ear:
            ear.subscribe(channel)
            confirmed = ear.get_message(timeout=10)
            assert confirmed is not None
            assert confirmed["type"] == "subscribe"
            assert await shared.publish(channel, {"id": 6}, raw=True) == 2
            heard = ear.get_message(timeout=10)
            assert heard is not None
            assert heard["data"] == b'{"id":6}'
        with shared.sync.subscribe(channel, raw=True) as blocking:
            foreign.publish(channel, "7")
            message = blocking.next(timeout=10)
            assert message is not None
            assert message.data == 7


async def test_all_namespaces_meet_on_a_literal_channel(redis_server: RedisServer, namespace: str) -> None:
    one = Cache.redis(redis_server.url, namespace=namespace, **PATIENT)
    other = Cache.redis(redis_server.url, namespace=f"{namespace}-other", **PATIENT)
    async with one, other, one.subscribe(namespace) as own, one.subscribe(namespace, raw=True) as literal:
        assert await other.publish(namespace, 1) == 0
        assert await other.publish(namespace, 2, raw=True) == 1
        assert (await literal.__anext__()).data == 2
        assert await one.publish(namespace, 3) == 1
        assert (await own.__anext__()).data == 3
