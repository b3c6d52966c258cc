"""What a cache on Redis does when Redis is away, is slow, refuses, or holds what nobody of ours wrote.

Rows are those of the table of bad inputs; the others of it are in `test_bad_inputs`, for every backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from loaders import PATIENT, Loader

from donjon import BackendUnavailable, Cache, ConfigError, InvalidationQueued, InvalidKey, ValueTooLarge
from redis_proxy import Proxy
from redis_server import RedisServer

Start = Callable[..., RedisServer]
ProxyTo = Callable[[RedisServer], Proxy]

_numbers = itertools.count(1)

WRITES: dict[str, Callable[[Cache], Any]] = {
    "add": lambda cache: cache.add("k", 1),
    "incr": lambda cache: cache.incr("n"),
    "touch": lambda cache: cache.touch("k", 10),
}


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str) -> Cache:
    return Cache.redis(redis_server.url, namespace=namespace, early=0.0, **PATIENT)


@pytest.fixture
def away() -> Cache:
    """A cache whose Redis is not there; each in another way, as the same trouble is logged once a minute."""
    return Cache.redis(f"redis://127.0.0.1:1/{next(_numbers)}", namespace="away", command_timeout=0.05)


async def test_reads_miss_and_loaders_run_while_redis_is_away(away: Cache, caplog: pytest.LogCaptureFixture) -> None:
    async with away as cache:
        assert not await cache.ping()
        assert await cache.get("k", "none") == "none"
        assert await cache.get_many(["k", "j"]) == {}
        assert not await cache.exists("k")
        assert await cache.ttl("k") is None
        assert (await cache.explain("k"))["state"] == "unknown"
        assert await cache.get_or_set("k", lambda: {"n": 1}) == {"n": 1}
        assert await cache.get_or_set_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1)) == {"a": 1, "b": 1}
        assert cache.sync.get_or_set("k", lambda: 2) == 2
        async with await cache.lookup("k") as found:
            assert not found
            assert await cache.fill(found, 1) is False
        assert cache.stats().faults > 0
    assert "redis does not answer" in caplog.text
    assert "no connection to redis" in caplog.text


async def test_one_loads_for_all_while_redis_is_away(away: Cache) -> None:
    await away.get("k")
    loader = Loader("once")
    callers = [asyncio.create_task(away.get_or_set("k", loader)) for _ in range(20)]
    await loader.begun.wait()
    await asyncio.sleep(0.05)
    loader.go.set()
    assert await asyncio.gather(*callers) == ["once"] * 20
    assert loader.calls <= 2


async def test_what_redis_was_not_told_is_queued_and_said(away: Cache, caplog: pytest.LogCaptureFixture) -> None:
    away.rules.on("e", keys=["k"], tags=["t"])
    for call in (
        away.delete("k"),
        away.delete_many(["k", "j"]),
        away.invalidate_pattern("k*"),
        away.invalidate_tags("t"),
        away.clear(),
        away.emit("e"),
    ):
        removed = await call
        assert (removed, removed.queued) == (0, True)
    assert away.sync.delete("k").queued
    await away.set("k", 1)
    assert away.stats().queued > 0
    assert caplog.text.count("it is queued") == 1
    assert "did not reach redis" in caplog.text
    await away.close()
    assert "that redis was not told of" in caplog.text


async def test_strict_raises_what_redis_was_not_told() -> None:
    cache = Cache.redis("redis://127.0.0.1:1", strict=True)
    with pytest.raises(InvalidationQueued):
        await cache.delete("k")
    with pytest.raises(InvalidationQueued):
        cache.sync.clear()
    with pytest.raises(BackendUnavailable):
        await cache.set("k", 1)
    with pytest.raises(ConnectionError):
        cache.sync.set_many({"k": 1})
    assert await cache.get("k") is None
    assert await cache.get_or_set("k", lambda: 1) == 1


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_who_has_to_know_is_told_that_redis_is_away(away: Cache, write: Callable[[Cache], Any]) -> None:
    with pytest.raises(BackendUnavailable):
        await write(away)
    with pytest.raises(BackendUnavailable):
        write(away.sync)


async def test_what_was_invalidated_while_redis_was_away_is_not_read_after(own_server: Start) -> None:
    server = own_server(append_only=True)
    here, there = (Cache.redis(server.url, connect_timeout=1, command_timeout=1) for _ in range(2))
    await here.set_many({"k": "old", "user:1": "old", "kept": 1})
    await here.set("tagged", "old", tags=["t"])
    server.kill()
    assert (await here.delete("k")).queued
    assert (await here.invalidate_pattern("user:*")).queued
    assert (await here.invalidate_tags("t")).queued
    server.restart()
    end = time.monotonic() + 20
    while not await here.ping():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert await here.get_many(["k", "user:1", "tagged", "kept"]) == {"kept": 1}
    assert await there.get_many(["k", "user:1", "tagged", "kept"]) == {"kept": 1}
    assert here.stats().queued == 0


async def test_a_server_that_stands_still_costs_its_time_once(own_server: Start) -> None:
    server = own_server()
    cache = Cache.redis(server.url, command_timeout=0.1)
    await cache.set("k", 1)
    server.pause()
    try:
        begun = time.monotonic()
        assert await cache.get("k", "none") == "none"
        assert time.monotonic() - begun < 1
        for _ in range(10):
            await cache.get("k")
        begun = time.monotonic()
        for _ in range(20):
            assert await cache.get_or_set("k", lambda: 2) == 2
        assert time.monotonic() - begun < 1.5
    finally:
        server.resume()
    end = time.monotonic() + 20
    while await cache.get("k") != 1:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("key", ["", "k" * 1025, 5, None, "\ud800"], ids=repr)
async def test_rows_1_to_4_a_bad_key_is_refused_before_anything_is_sent(away: Cache, key: Any) -> None:
    for call in (away.get, away.delete, away.exists, away.lookup, away.incr):
        with pytest.raises((InvalidKey, TypeError)):
            await call(key)
    with pytest.raises((InvalidKey, TypeError), match=r"keys\[1\]"):
        await away.get_many(["good", key])
    assert away.stats().faults == 0


def framed(foreign: redis.Redis, name: str) -> bytes:
    kept = foreign.get(name)
    assert isinstance(kept, bytes)
    return kept


async def test_row_12_what_is_too_deep_is_loaded_anew(shared: Cache, foreign: redis.Redis, namespace: str) -> None:
    await shared.set("k", "x" * 199_998)
    header = framed(foreign, f"{namespace}:k")[:-200_000]
    foreign.set(f"{namespace}:k", header + b"[" * 100_000 + b"]" * 100_000)
    assert await shared.get("k", "none") == "none"
    assert await shared.get_or_set("k", lambda: "anew") == "anew"
    assert await shared.get("k") == "anew"
    assert shared.stats().undecodable == 2


async def test_row_12_what_is_too_large_is_neither_read_nor_stored(redis_server: RedisServer, namespace: str) -> None:
    large, small = (
        Cache.redis(redis_server.url, namespace=namespace, max_value_bytes=size, **PATIENT) for size in (2**20, 1000)
    )
    await large.set("k", "x" * 10_000)
    assert await small.get("k", "none") == "none"
    assert await small.get_or_set("k", lambda: "short") == "short"
    assert await large.get("k") == "short"
    await small.set("k", "y" * 2000)
    assert await large.get("k", "gone") == "gone"
    assert await small.get_or_set("k", lambda: "z" * 2000) == "z" * 2000
    assert not await large.exists("k")
    assert small.stats().too_large >= 2
    strict = Cache.redis(redis_server.url, namespace=namespace, max_value_bytes=1000, strict=True, **PATIENT)
    with pytest.raises(ValueTooLarge):
        await strict.set("k", "y" * 2000)


async def test_row_13_no_part_of_an_envelope_is_taken_for_one(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    await shared.set("k", {"n": [1, 2]}, tags=["t"])
    kept = framed(foreign, f"{namespace}:k")
    for length in range(len(kept)):
        foreign.set(f"{namespace}:k", kept[:length])
        assert await shared.get("k") in (None, {"n": [1, 2]})
    for place in range(len(kept)):
        flipped = bytearray(kept)
        flipped[place] ^= 0x10
        foreign.set(f"{namespace}:k", bytes(flipped))
        await shared.get("k")
        assert await asyncio.wait_for(shared.get_or_set("k", lambda: "loaded"), 5) is not None


@pytest.mark.parametrize(
    "text", [pickle.dumps({"a": 1}), json.dumps({"a": 1}).encode(), b"\x80\x04.", b"true", b"DJ"], ids=repr
)
async def test_row_14_what_another_library_wrote_is_a_miss_and_left_alone(
    shared: Cache, foreign: redis.Redis, namespace: str, text: bytes
) -> None:
    foreign.set(f"{namespace}:k", text)
    assert await shared.get("k", "none") == "none"
    assert await shared.get_or_set("k", lambda: "loaded") == "loaded"
    assert shared.sync.get_or_set("k", lambda: "loaded") == "loaded"
    assert foreign.get(f"{namespace}:k") == text
    assert shared.stats().foreign >= 2


async def test_row_14_a_list_under_our_name_is_a_miss_and_stays(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    foreign.rpush(f"{namespace}:k", "a", "b")
    assert await shared.get("k", "none") == "none"
    assert await shared.get_or_set("k", lambda: "loaded") == "loaded"
    assert await shared.get_many(["k"]) == {}
    assert foreign.llen(f"{namespace}:k") == 2
    assert await shared.delete("k") == 0
    assert foreign.exists(f"{namespace}:k") == 0


async def test_row_16_a_placeholder_without_an_end_is_taken_over(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    found = await shared.lookup("k")
    assert not found
    foreign.persist(f"{namespace}:k")
    other = Cache.redis(shared._memory._url, namespace=namespace, **PATIENT)  # type: ignore[attr-defined]
    assert await asyncio.wait_for(other.get_or_set("k", lambda: "loaded"), 10) == "loaded"
    assert other.stats().takeovers == 1
    assert await shared.fill(found, "late") is False
    assert await shared.get("k") == "loaded"


async def test_row_18_a_hundred_thousand_missing_keys_leave_nothing_behind(shared: Cache) -> None:
    for start in range(0, 20_000, 1000):
        assert await shared.get_many([f"k:{number}" for number in range(start, start + 1000)]) == {}
    assert shared.stats().flights == 0
    assert shared.stats().misses == 20_000


URLS = [
    "redis://:s%40cret:/%25@127.0.0.1:1/0",
    "rediss://user:s3cret-word@[::1]:1/2",
    "unix:///tmp/no%20such.sock?db=99&pass=s3cret-word",
    "ftp://:s3cret-word@h",
    "redis://:s3cret-word@h:port",
    "redis://:s3cret-word@h/db",
    "s3cret-word",
]


@pytest.mark.parametrize("url", URLS)
async def test_row_20_no_secret_shows(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []
    try:
        cache = Cache.redis(url)
    except ConfigError as error:
        shown.append(repr(error) + str(error.__cause__) + str(error.__context__))
    else:
        async with cache:
            await cache.get("k")
            with pytest.raises(BackendUnavailable) as failed:
                await cache.incr("k")
            shown += [repr(cache), str(failed.value), repr(failed.value)]
    shown.append(caplog.text)
    assert not any(secret in text for text in shown for secret in ("s3cret", "s@cret", "s%40cret"))


async def test_row_20_a_socket_a_database_and_a_password_are_found(own_server: Start) -> None:
    server = own_server(password="p@ss:/%")
    cache = Cache.redis(f"unix://{server.socket}?db=3&pass=p%40ss%3A%2F%25", namespace="s", **PATIENT)
    await cache.set("k", 1)
    assert cache.sync.get("k") == 1
    with server.client() as client:
        client.select(3)
        assert client.exists("s:k")


async def test_row_20_tls_is_verified(own_server: Start) -> None:
    server = own_server(tls=True)
    trusted = Cache.redis(server.url, ca=server.authority, **PATIENT)
    await trusted.set("k", 1)
    assert await trusted.get("k") == trusted.sync.get("k") == 1
    assert not await Cache.redis(server.url, connect_timeout=5).ping()


@pytest.mark.parametrize("size", [1, 10, 40])
async def test_row_21_a_reply_that_breaks_off_is_a_miss(own_server: Start, proxy_to: ProxyTo, size: int) -> None:
    server = own_server()
    proxy = proxy_to(server)
    cache = Cache.redis(proxy.url, connect_timeout=2, command_timeout=1)
    await cache.set("k", "x" * 1000)
    proxy.cut_after("replies", size)
    assert await cache.get("k", "none") in ("none", "x" * 1000)
    end = time.monotonic() + 20
    while await cache.get("k") != "x" * 1000:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_row_22_what_redis_forgets_is_loaded_anew(own_server: Start) -> None:
    server = own_server()
    cache = Cache.redis(server.url, connect_timeout=2, command_timeout=1)
    cached = 0

    @cache.cached("f:{n}", tags=["t"])
    async def function(n: int) -> int:
        nonlocal cached
        cached += 1
        return n

    for ask in (["FLUSHALL"], ["SCRIPT", "FLUSH"], ["CLIENT", "KILL", "TYPE", "normal"]):
        assert await function(1) == 1
        server.ask(*ask)
        assert await function(1) == await function(2) == 1 or await function(2) == 2
        assert await cache.delete_many(["f:1", "f:2"]) in (0, 1, 2)
    assert cached >= 3
    assert await cache.incr("n") == 1


async def test_row_22_a_full_server_keeps_no_old_value(own_server: Start) -> None:
    server = own_server(memory=(3 * 2**20, "noeviction"))
    cache = Cache.redis(server.url, command_timeout=1)
    await cache.set("k", "old")
    with server.client() as client, contextlib.suppress(redis.ResponseError):
        for number in range(1000):
            client.set(f"filling:{number}", b"x" * 100_000)
    await cache.set("k", "y" * 200_000)
    assert await cache.get("k", "gone") == "gone"
    assert await cache.get_or_set("k", lambda: "z" * 200_000) == "z" * 200_000
    assert not (await cache.delete("k")).queued
    with pytest.raises(BackendUnavailable):
        await cache.add("new", "x" * 200_000)


async def test_row_22_a_replica_refuses_and_is_read(own_server: Start) -> None:
    primary, replica = own_server(), own_server()
    replica.replica_of(primary)
    cache = Cache.redis(replica.url, command_timeout=1)
    assert await cache.get_or_set("k", lambda: 1) == 1
    assert (await cache.delete("k")).queued
    with pytest.raises(BackendUnavailable):
        await cache.incr("n")


async def test_row_22_a_user_who_may_little_loses_the_cache_and_not_the_loader(
    own_server: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server(users={"app": "on >secret ~app:* +get +ping +hello", "default": "off"})
    cache = Cache.redis(server.url.replace("redis://", "redis://app:secret@"), command_timeout=1)
    assert await cache.get("k") is None
    assert await cache.get_or_set("k", lambda: 1) == 1
    assert (await cache.delete("k")).queued
    assert "secret" not in caplog.text


async def test_the_switch_is_for_reads_and_stores_and_not_for_invalidations(shared: Cache) -> None:
    await shared.set("k", 1)
    shared.enabled = False
    assert await shared.get("k") is None
    assert shared.sync.get_or_set("k", lambda: 2) == 2
    await shared.set("j", 1)
    assert await shared.delete("k") == 1
    shared.sync.enabled = True
    assert await shared.get_many(["k", "j"]) == {}
