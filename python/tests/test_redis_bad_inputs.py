"""What goes wrong with a Redis, and what becomes of values and invalidations then; bad inputs by their number.

Commands are given ten seconds where no time limit is being tested: a busy machine is no server that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from donjon import BackendUnavailable, Cache, InvalidationQueued
from redis_proxy import Proxy
from redis_server import PATIENCE, RedisServer

Start = Callable[..., RedisServer]
ProxyTo = Callable[[RedisServer], Proxy]
Ask = Callable[..., Awaitable[Any]]

HEADER = slice(0, 36)  # magic 2, format 1, kind 1, token 16, fresh until 8, usable until 8
LENGTH = slice(40, 44)  # behind flags 1, codec 1, load time 2; the value follows at 44


def cache_at(url: str, **options: Any) -> Cache:
    return Cache.redis(url, **{"early": 0.0, "connect_timeout": 10.0, "command_timeout": 10.0, **options})


@pytest.fixture(params=["awaited", "blocking"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Calls a method of a cache, awaited or in a thread."""

    async def ask(cache: Cache, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "awaited":
            return await getattr(cache, name)(*args, **options)
        return await asyncio.to_thread(getattr(cache.sync, name), *args, **options)

    return ask


async def back(cache: Cache) -> None:
    """Waits until Redis answers again."""
    deadline = time.monotonic() + PATIENCE
    while not (await cache.ping() and await asyncio.to_thread(cache.sync.ping)):
        assert time.monotonic() < deadline, "it never came back"
        await asyncio.sleep(0.005)


async def enveloped(cache: Cache, server: RedisServer, value: Any, **options: Any) -> bytes:
    """The bytes of a value as Redis keeps them under `app:key`."""
    await cache.set("key", value, ttl=60, **options)
    kept = server.ask("GET", "app:key")
    assert isinstance(kept, bytes)
    return kept


@pytest.mark.parametrize("flush", [("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("SCRIPT", "FLUSH")])
async def test_row_22_a_flush_refuses_what_is_being_loaded_and_costs_one_load(
    own_server: Start, ask: Ask, flush: tuple[str, ...]
) -> None:
    server = own_server()
    async with cache_at(server.url) as cache:
        await ask(cache, "set", "kept", 1, tags=["t"])

        def load() -> str:
            server.ask(*flush)
            return "loaded"

        assert await ask(cache, "get_or_set", "key", load, tags=["t"]) == "loaded"
        forgot = flush[0] != "SCRIPT"
        assert await ask(cache, "get", "key") == (None if forgot else "loaded")
        assert await ask(cache, "get", "kept") == (None if forgot else 1)
        assert cache.stats().loads_refused == forgot
        assert await ask(cache, "get_or_set", "key", lambda: "again") == ("again" if forgot else "loaded")
        server.ask("SCRIPT", "FLUSH")
        assert await ask(cache, "incr", "n") == 1
        await ask(cache, "invalidate_tags", "t")
        assert await ask(cache, "get", "kept") is None


async def test_row_22_a_restart_shows_as_misses_and_keeps_no_invalidation_back(own_server: Start, ask: Ask) -> None:
    server = own_server(append_only=True)
    async with cache_at(server.url) as cache:
        await ask(cache, "set_many", {"kept": 1, "old": 1})
        server.kill()
        assert await ask(cache, "get", "kept", "default") == "default"
        assert await ask(cache, "get_or_set", "kept", lambda: "loaded") == "loaded"
        removed = await ask(cache, "delete", "old")
        assert removed == 0 and removed.queued
        assert (await ask(cache, "invalidate_pattern", "none:*")).queued
        server.restart()
        await back(cache)

        assert await ask(cache, "get", "kept") == 1
        assert await ask(cache, "get", "old") is None
        assert cache.stats().queued == 0


async def test_row_22_a_full_server_keeps_no_older_value_and_still_deletes(own_server: Start, ask: Ask) -> None:
    server = own_server(memory=(3 << 20, "noeviction"))
    async with cache_at(server.url) as cache, cache_at(server.url, strict=True) as strict:
        await ask(cache, "set_many", {"key": "old", "strict": "old", "deleted": 1})
        with server.client() as foreign, contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for _ in range(1_000):
                foreign.append("bulk", b"x" * 20_000)

        await ask(cache, "set", "key", "new")
        assert await ask(cache, "get", "key") is None
        with pytest.raises(BackendUnavailable):
            await ask(strict, "set", "strict", "new")
        assert await ask(cache, "get", "strict") is None
        assert await ask(cache, "get_or_set", "other", lambda: "loaded") == "loaded"
        assert await ask(cache, "delete", "deleted") == 1
        assert cache.stats().faults > 0
        server.ask("DEL", "bulk")
        assert await ask(cache, "get_or_set", "key", lambda: "new") == "new"
        assert await ask(cache, "get", "key") == "new"


async def test_row_22_a_replica_is_read_and_its_invalidations_wait(own_server: Start, ask: Ask) -> None:
    primary, replica = own_server(), own_server()
    async with cache_at(primary.url) as writer, cache_at(replica.url) as cache:
        await ask(writer, "set", "key", "old")
        replica.replica_of(primary)
        assert await ask(cache, "get", "key") == "old"
        assert await ask(cache, "get_or_set", "other", lambda: "loaded") == "loaded"
        assert (await ask(cache, "delete", "key")).queued
        replica.promote()
        await back(cache)
        assert await ask(cache, "get", "key") is None
        assert replica.ask("EXISTS", "app:key") == 0


@pytest.mark.parametrize("write", [("RPUSH", "app:key", "a"), ("HSET", "app:key", "a", "b"), ("SADD", "app:key", "a")])
async def test_row_14_a_foreign_type_is_counted_and_not_deleted(
    own_server: Start, ask: Ask, write: tuple[str, ...]
) -> None:
    server = own_server()
    server.ask(*write)
    before = server.ask("DUMP", "app:key")
    async with cache_at(server.url) as cache:
        assert await ask(cache, "get", "key", "default") == "default"
        assert await ask(cache, "get_many", ["key", "none"]) == {}
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert server.ask("DUMP", "app:key") == before
        stats = cache.stats()
        assert stats.faults + stats.foreign > 0
        await ask(cache, "set", "key", "meant")
        assert await ask(cache, "get", "key") == "meant"


class Trap:
    """What a pickle can do to who reads it."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize(
    "foreign",
    [pickle.dumps(Trap()), pickle.dumps({"a": 1}, 0), b'{"id": 5}', b"", b"\xff\xfe", b"12ab", b"!\x80\x04"],
    ids=["pickle", "old pickle", "JSON", "nothing", "no text", "no number", "dill"],
)
async def test_row_14_what_others_wrote_is_neither_read_nor_replaced(
    own_server: Start, ask: Ask, foreign: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = own_server()
    server.ask("SET", "app:key", foreign)
    async with cache_at(server.url) as cache:
        assert await ask(cache, "get", "key", "default") == "default"
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert server.ask("GET", "app:key") == foreign
        assert files_in(tmp_path) == []


async def test_row_14_a_pickle_in_an_envelope_is_data(
    own_server: Start, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = own_server()
    async with cache_at(server.url) as cache:
        kept = await enveloped(cache, server, "x")
        payload = pickle.dumps(Trap())
        for codec in range(256):
            meta = kept[36:37] + bytes([codec]) + kept[38:40] + len(payload).to_bytes(4, "big")
            server.ask("SET", "app:key", kept[HEADER] + meta + payload)
            assert await ask(cache, "get", "key") in (None, payload), codec
        assert files_in(tmp_path) == []


async def test_row_13_an_envelope_cut_anywhere_is_loaded_anew(own_server: Start, ask: Ask) -> None:
    server = own_server()
    async with cache_at(server.url) as cache:
        kept = await enveloped(cache, server, {"name": "value"}, tags=["t"])
        for length in range(2, len(kept)):
            server.ask("SET", "app:key", kept[:length])
            assert await ask(cache, "get", "key", "default") == "default", length
            assert await ask(cache, "get_or_set", "key", lambda: "anew") == "anew", length
            assert await ask(cache, "get", "key") == "anew", length


async def test_row_13_no_flipped_bit_raises(own_server: Start) -> None:
    server = own_server()
    async with cache_at(server.url, load_timeout=0.05) as cache:
        kept = await enveloped(cache, server, {"name": "value"})
        for bit in range(len(kept) * 8):
            flipped = bytearray(kept)
            flipped[bit // 8] ^= 1 << bit % 8
            server.ask("SET", "app:key", bytes(flipped))
            await cache.get("key")
            await cache.exists("key")
            await cache.get_or_set("key", lambda: "anew")


@pytest.mark.parametrize("byte", [0, 2, 99], ids=["no format", "a newer format", "a far newer format"])
async def test_row_13_a_newer_format_is_no_value_and_stays(own_server: Start, ask: Ask, byte: int) -> None:
    server = own_server()
    async with cache_at(server.url) as cache:
        kept = await enveloped(cache, server, "value")
        newer = kept[:2] + bytes([byte]) + kept[3:]
        server.ask("SET", "app:key", newer)
        assert await ask(cache, "get", "key") is None
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert (server.ask("GET", "app:key") == newer) is (byte > 0)


@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"1e999999", b'"\xff"', b"nan"]
)
async def test_row_12_a_value_that_no_reader_survives_is_a_miss(own_server: Start, ask: Ask, payload: bytes) -> None:
    server = own_server()
    async with cache_at(server.url) as cache:
        kept = await enveloped(cache, server, "value")
        server.ask("SET", "app:key", kept[: LENGTH.start] + len(payload).to_bytes(4, "big") + payload)
        assert await ask(cache, "get", "key", "default") == "default"
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert await ask(cache, "get", "key") == "loaded"


async def test_row_12_a_length_that_is_not_there_takes_no_memory(own_server: Start, ask: Ask) -> None:
    server = own_server()
    async with cache_at(server.url) as cache:
        kept = await enveloped(cache, server, "value")
        server.ask("SET", "app:key", kept[: LENGTH.start] + b"\xff\xff\xff\xff" + kept[LENGTH.stop :])
        assert await ask(cache, "get", "key", "default") == "default"
        server.ask("SET", "app:key", kept[: LENGTH.stop] + b"x" * (50 << 20))
        assert await ask(cache, "get", "key", "default") == "default"
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"


@pytest.mark.parametrize("lasting", ["PERSIST", "PEXPIRE"])
async def test_row_16_a_placeholder_that_nobody_will_fill_is_waited_for_within_bounds(
    own_server: Start, ask: Ask, lasting: str
) -> None:
    server = own_server()
    async with cache_at(server.url) as dead, cache_at(server.url) as cache:
        miss = await dead.lookup("key")
        server.ask(lasting, "app:key", *(["700"] if lasting == "PEXPIRE" else []))
        kept = server.ask("GET", "app:key")
        assert kept[3:4] == b"L"
        server.ask("SET", "app:key", kept[:4] + b"z" * 16 + kept[20:], "KEEPTTL")
        begun = time.monotonic()

        assert await ask(cache, "get", "key", "default") == "default"
        assert time.monotonic() - begun < 1.0, "a plain read does not wait"
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert await ask(cache, "get", "key") == "loaded"
        assert cache.stats().takeovers == 1
        assert await dead.fill(miss, "late") is False
        assert server.ask("PTTL", "app:key") > 0


async def test_row_21_a_connection_that_breaks_anywhere_in_a_reply_costs_nothing_but_time(
    own_server: Start, proxy_to: ProxyTo
) -> None:
    server = own_server()
    proxy = proxy_to(server)
    async with cache_at(proxy.url) as cache:
        await cache.set("key", {"name": "value"})
        for size in range(0, 90, 7):
            proxy.cut_after("replies", size)
            assert await cache.get("key") in ({"name": "value"}, None), size
            await back(cache)
            assert await cache.get("key") == {"name": "value"}, size
        proxy.cut_after("replies", 0)
        assert await cache.get_or_set("other", lambda: "loaded") == "loaded"
        await back(cache)
        proxy.cut()
        assert await cache.get("key") in ({"name": "value"}, None)


async def test_a_server_that_hangs_costs_its_time_limit_once_and_then_nothing(own_server: Start) -> None:
    server = own_server()
    async with Cache.redis(server.url, command_timeout=0.2) as cache:
        await cache.set("key", "old")
        server.pause()
        begun = time.monotonic()
        loaded = await asyncio.gather(*(cache.get_or_set("key", lambda: "loaded") for _ in range(200)))
        assert loaded == ["loaded"] * 200
        assert time.monotonic() - begun < 3.0
        for _ in range(10):
            await cache.get("key")
        begun = time.monotonic()
        assert [await cache.get("key", "default") for _ in range(50)] == ["default"] * 50
        assert time.monotonic() - begun < 2.0
        assert (await cache.delete("key")).queued
        server.resume()
        await back(cache)
        assert await cache.get("key") is None
        assert cache.stats().queued == 0


async def test_replies_that_come_too_late_are_nobodys(own_server: Start, proxy_to: ProxyTo) -> None:
    proxy = proxy_to(own_server())
    async with Cache.redis(proxy.url, connect_timeout=10, command_timeout=0.3) as cache:
        values = {f"k{number}": number for number in range(20)}
        await cache.set_many(values)
        proxy.delay("replies", 0.7)
        assert await asyncio.gather(*(cache.get(key) for key in list(values)[:5])) == [None] * 5
        proxy.delay("replies", 0)
        await back(cache)
        assert await asyncio.gather(*(cache.get(key) for key in values)) == list(values.values())


async def test_strict_says_what_did_not_reach_redis(own_server: Start, ask: Ask) -> None:
    server = own_server()
    async with cache_at(server.url, strict=True) as cache:
        await ask(cache, "set", "key", "old")
        server.kill()
        for name, arguments in [
            ("delete", ["key"]),
            ("invalidate_pattern", ["k*"]),
            ("invalidate_tags", ["t"]),
            ("clear", []),
        ]:
            with pytest.raises(InvalidationQueued):
                await ask(cache, name, *arguments)
        with pytest.raises(BackendUnavailable):
            await ask(cache, "set", "key", "new")
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        server.restart()
        await back(cache)


async def test_a_user_without_scripts_loads_once_and_is_told_so_once(
    own_server: Start, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    server = own_server(users={"poor": "on >secret ~app:* ~app!* +@all -@scripting"})
    url = server.url.replace("redis://", "redis://poor:secret@")
    async with cache_at(url) as cache, cache_at(server.url) as other:
        for number in range(3):
            assert await ask(cache, "get_or_set", f"key{number}", lambda: "loaded") == "loaded"
            assert await ask(other, "get", f"key{number}") == "loaded"

        def load() -> str:
            server.ask("UNLINK", "app:late")
            return "old"

        assert await ask(cache, "get_or_set", "late", load) == "old"
        assert await ask(other, "get", "late") is None
    assert caplog.text.count("EVALSHA") <= 2, "once for each face"
    assert "secret" not in caplog.text


@pytest.mark.parametrize("rights", ["+@all -@write -@scripting", "-@all +hello +ping +client +time", "-@all"])
async def test_a_user_without_rights_loads_alone_and_owes_its_invalidations(
    own_server: Start, ask: Ask, rights: str
) -> None:
    server = own_server(users={"poor": f"on >secret ~app:* ~app!* {rights}"})
    async with cache_at(server.url.replace("redis://", "redis://poor:secret@")) as cache:
        assert await ask(cache, "get", "key", "default") == "default"
        assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        await ask(cache, "set", "key", "value")
        assert (await ask(cache, "delete", "key")).queued
        assert cache.stats().queued > 0


async def test_row_20_a_wrong_password_is_said_and_not_shown(
    own_server: Start, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = own_server(password="p@ss:w/rd%")
    right = server.url.replace("p@ss:w/rd%", "p%40ss%3Aw%2Frd%25")
    async with cache_at(right) as cache:
        await ask(cache, "set", "key", "value")
        assert await ask(cache, "get", "key") == "value"
    async with cache_at(right.replace("p%40ss", "wr0ng")) as cache:
        for _ in range(20):
            assert await ask(cache, "get_or_set", "key", lambda: "loaded") == "loaded"
        assert not await ask(cache, "ping")
        # Nobody waits for a connection longer than a moment, and why there is none is known, and said by some call, after that.
        deadline = time.monotonic() + PATIENCE
        while "WRONGPASS" not in caplog.text and time.monotonic() < deadline:
            assert not await ask(cache, "ping")
            await asyncio.sleep(0.01)
    assert "WRONGPASS" in caplog.text
    for secret in ("p@ss", "p%40ss", "wr0ng", "w/rd", "w%2Frd"):
        assert secret not in caplog.text


async def test_row_18_many_missing_keys_leave_nothing_behind(redis_server: RedisServer, namespace: str) -> None:
    async with cache_at(redis_server.url, namespace=namespace) as cache:

        async def load() -> int:
            await asyncio.sleep(0)
            return 1

        asked = (cache.get_or_set(f"key{number}", load, ttl=1) for number in range(5_000))
        assert sum(await asyncio.gather(*asked)) == 5_000
        stats = cache.stats()
        assert (stats.flights, stats.faults, stats.loads) == (0, 0, 5_000)
