"""The Redis backend as a cache of one process: what is asked of it, how it is opened, and what it says of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
import redis
from loaders import PATIENT, Loader

from donjon import Cache, CacheClosed, ConfigError, InvalidNamespace
from redis_server import RedisServer


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str) -> Iterator[Cache]:
    return Cache.redis(redis_server.url, namespace=namespace, **PATIENT)


async def test_what_was_stored_is_read_as_json_under_the_namespace(
    shared: Cache, namespace: str, foreign: redis.Redis
) -> None:
    await shared.set("user:1", {"name": "Ada", "tags": ("a", "b")}, ttl=60)
    assert await shared.get("user:1") == {"name": "Ada", "tags": ["a", "b"]}
    kept = foreign.get(f"{namespace}:user:1")
    assert kept is not None and kept.endswith(b'{"name":"Ada","tags":["a","b"]}')
    assert 59_000 < foreign.pttl(f"{namespace}:user:1") <= 60_000
    assert await shared.ttl("user:1") == pytest.approx(60, abs=1)


async def test_bytes_stay_bytes(shared: Cache) -> None:
    await shared.set("b", b"\x80\x04not json")
    assert await shared.get("b") == b"\x80\x04not json"
    assert await shared.get_or_set("c", lambda: b"raw") == b"raw"
    assert shared.sync.get("c") == b"raw"


async def test_both_faces_and_two_caches_share_one_redis(
    shared: Cache, redis_server: RedisServer, namespace: str
) -> None:
    other = Cache.redis(redis_server.url, namespace=namespace, **PATIENT)
    await shared.set("k", 1)
    assert shared.sync.get("k") == await other.get("k") == other.sync.get("k") == 1
    other.sync.delete("k")
    assert await shared.get("k", "gone") == "gone"


async def test_a_load_serves_everyone_who_asks_meanwhile(shared: Cache) -> None:
    loader = Loader({"n": 1})
    callers = [asyncio.create_task(shared.get_or_set("k", loader, tags=["t"])) for _ in range(50)]
    await loader.begun.wait()
    loader.go.set()
    assert await asyncio.gather(*callers) == [{"n": 1}] * 50
    assert loader.calls == 1
    assert await shared.invalidate_tags("t") == 1
    assert await shared.get("k") is None


async def test_a_load_over_which_the_key_was_deleted_is_not_stored(
    shared: Cache, foreign: redis.Redis, namespace: str
) -> None:
    loader = Loader("old")
    loading = asyncio.create_task(shared.get_or_set("k", loader))
    await loader.begun.wait()
    foreign.unlink(f"{namespace}:k")
    loader.go.set()
    assert await loading == "old"
    assert await shared.get("k") is None
    assert shared.stats().loads_refused == 1


async def test_a_cancelled_caller_gives_the_load_to_the_next(shared: Cache) -> None:
    loader, second = Loader("first"), Loader("second")
    second.go.set()
    leader = asyncio.create_task(shared.get_or_set("k", loader))
    await loader.begun.wait()
    waiter = asyncio.create_task(shared.get_or_set("k", second))
    await asyncio.sleep(0.05)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert await asyncio.wait_for(waiter, 5) == "second"


async def test_what_is_no_json_is_loaded_anew_and_replaced(
    shared: Cache, foreign: redis.Redis, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await shared.set("k", {"a": 1})
    kept = foreign.get(f"{namespace}:k")
    assert kept is not None
    foreign.set(f"{namespace}:k", kept[:-1] + b"!")
    assert await shared.get("k", "unreadable") == "unreadable"
    assert await shared.get_or_set("k", lambda: "new") == "new"
    assert await shared.get("k") == "new"
    assert shared.stats().undecodable >= 2
    assert "no JSON" in caplog.text


async def test_many_keys_take_one_load(shared: Cache) -> None:
    asked = []

    async def load(keys: list[str]) -> dict[str, int]:
        asked.append(keys)
        return {key: len(key) for key in keys if key != "absent"}

    assert await shared.get_or_set_many(["a", "bb", "absent"], load) == {"a": 1, "bb": 2}
    assert await shared.get_or_set_many(["ccc", "a", "bb"], load) == {"ccc": 3, "a": 1, "bb": 2}
    assert asked == [["a", "bb", "absent"], ["ccc"]]


async def test_it_says_what_it_is_and_no_password(own_server: object, caplog: pytest.LogCaptureFixture) -> None:
    server = own_server(password="hush-hush")  # type: ignore[operator]
    caplog.set_level(logging.INFO, "donjon")
    async with Cache.redis(server.url, namespace="shop", **PATIENT) as cache:
        assert cache.backend == "redis"
        assert repr(cache) == "<Cache redis namespace=shop>"
        assert repr(cache.sync) == "<SyncCache redis namespace=shop>"
        assert await cache.ping() and cache.sync.ping()
    assert (
        f"✓ Cache initialized (redis backend) namespace=shop tiers=redis url=redis://:***@127.0.0.1:{server.port}"
        in caplog.text
    )
    assert "hush-hush" not in caplog.text
    with pytest.raises(CacheClosed):
        await cache.get("k")
    with pytest.raises(CacheClosed):
        cache.sync.get("k")


async def test_settings_open_it(redis_server: RedisServer, namespace: str) -> None:
    variables = {"CACHE_BACKEND": "redis", "CACHE_REDIS_URL": redis_server.url, "CACHE_NAMESPACE": namespace}
    cache = Cache.from_env(variables | {"CACHE_TTL_STATS": "90"})
    await cache.set("k", 1, ttl="stats")
    assert await cache.ttl("k") == pytest.approx(90, abs=1)


def test_what_it_cannot_be_opened_with_is_refused() -> None:
    for url in ("http://localhost", "redis://:secret@local host", "localhost:6379", ""):
        with pytest.raises(ConfigError) as refused:
            Cache.redis(url)
        assert "secret" not in str(refused.value)
    for options in (
        {"connect_timeout": 0},
        {"command_timeout": -1},
        {"max_value_bytes": 0},
        {"jitter": 2.0},
        {"ca": b"no"},
    ):
        with pytest.raises(ConfigError):
            Cache.redis("redis://localhost", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ca"):
        Cache.redis("redis://localhost", ca="/nowhere.pem")
    with pytest.raises(InvalidNamespace):
        Cache.redis("redis://localhost", namespace="a b")
