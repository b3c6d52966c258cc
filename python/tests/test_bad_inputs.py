"""Bad inputs and what must happen, each by its number in the project's table; the same in every binding.

Rows that need Redis are in `test_redis_faults.py` (12 to 14, 16, 18, 20 to 22); those that need HTTP are tested where that is.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import math
import os
import re
from typing import Any

import pytest
from loaders import Loader, size_of

import donjon
from donjon import (
    Cache,
    InvalidKey,
    InvalidPattern,
    InvalidTag,
    InvalidTtl,
    LockLost,
    LockTimeout,
    UnsupportedValue,
)
from donjon._donjon import ManualClock

WAYS_TO_NAME_A_KEY = {
    "get": lambda cache, key: cache.get(key),
    "get as": lambda cache, key: cache.get(key, as_=int),
    "set": lambda cache, key: cache.set(key, 1),
    "add": lambda cache, key: cache.add(key, 1),
    "incr": lambda cache, key: cache.incr(key),
    "touch": lambda cache, key: cache.touch(key, 10),
    "ttl": lambda cache, key: cache.ttl(key),
    "exists": lambda cache, key: cache.exists(key),
    "explain": lambda cache, key: cache.explain(key),
    "delete": lambda cache, key: cache.delete(key),
    "get_or_set": lambda cache, key: cache.get_or_set(key, lambda: 1),
    "forced": lambda cache, key: cache.get_or_set(key, lambda: 1, force_refresh=True),
    "lookup": lambda cache, key: cache.lookup(key),
    "get_many": lambda cache, key: cache.get_many(["good", key]),
    "set_many": lambda cache, key: cache.set_many({"good": 1, key: 1}),
    "delete_many": lambda cache, key: cache.delete_many(["good", key]),
}
every_way = pytest.mark.parametrize("way", WAYS_TO_NAME_A_KEY.values(), ids=WAYS_TO_NAME_A_KEY)


@every_way
@pytest.mark.parametrize(
    "key", ["", "k" * 1025, "é" * 513, "\ud800"], ids=["empty", "long", "long in bytes", "surrogate"]
)
async def test_rows_1_2_4_a_key_that_is_none_is_refused_at_the_call(cache: Cache, way: Any, key: str) -> None:
    with pytest.raises(InvalidKey):
        await way(cache, key)
    assert size_of(cache) == 0
    assert cache.stats().flights == 0


@pytest.mark.parametrize("name", ["get_many", "delete_many"])
async def test_row_1_a_batch_names_the_place_of_the_bad_key(cache: Cache, name: str) -> None:
    await cache.set("good", 1)
    with pytest.raises(InvalidKey, match="1"):
        await getattr(cache, name)(["good", ""])
    assert await cache.get("good") == 1


async def test_row_2_a_key_of_1_kib_is_long_enough(cache: Cache) -> None:
    await cache.set("é" * 512, 1)
    assert await cache.get("é" * 512) == 1


@pytest.mark.parametrize("key", ["a\0b", "a\r\nb", "a b", "🗝", "{a}", "a*?[b]\\", "*", "app:k", "app!k", "%3A"])
async def test_row_3_a_key_is_literal_whatever_is_in_it(cache: Cache, key: str) -> None:
    await cache.set_many({key: {"v": key}, key + "x": 1, "x" + key: 1, "ax?": 1})
    assert await cache.get(key) == {"v": key}
    assert await cache.invalidate_pattern(donjon.pattern(key).replace("%", "")) >= 0
    assert await cache.delete(key) in (0, 1)
    assert not await cache.exists(key)
    assert list(await cache.get_many([key + "x", "x" + key, "ax?"])) == list(
        dict.fromkeys([key + "x", "x" + key, "ax?"])
    )


@every_way
@pytest.mark.parametrize("key", [1, None, b"k", True, 1.5, ["k"]], ids=repr)
async def test_row_4_what_is_no_text_is_no_key(cache: Cache, way: Any, key: Any) -> None:
    await cache.set("1", 1)
    try:
        hash(key)
    except TypeError:
        key = object()
    with pytest.raises((TypeError, InvalidKey)):
        await way(cache, key)
    assert size_of(cache) == 1


async def test_row_5_delete_never_reads_a_wildcard(cache: Cache) -> None:
    await cache.set_many({"user:1": 1, "user:2": 1, "user:*": 1})
    assert await cache.delete("user:*") == 1
    assert await cache.delete("*") == 0
    assert await cache.delete_many(["user:?", "user:[12]"]) == 0
    assert size_of(cache) == 2


async def test_row_6_no_pattern_is_refused_and_all_stars_clear(cache: Cache) -> None:
    await cache.set_many({"a": 1, "b": 1})
    with pytest.raises(InvalidPattern):
        await cache.invalidate_pattern("")
    assert size_of(cache) == 2
    assert await cache.invalidate_pattern("*") == 2
    await cache.set_many({"a": 1, "b": 1})
    assert await cache.invalidate_pattern("***") == 2


@pytest.mark.parametrize(
    ("pattern", "hit", "missed"),
    [
        ("[", [], ["["]),
        ("[^", ["x"], ["xy"]),
        ("[a-]x", ["a", "]", "_", "x"], ["b", "ax"]),
        ("a\\", ["a\\"], ["a"]),
        ("[abc", ["b"], ["d"]),
    ],
)
async def test_row_7_odd_patterns_match_as_in_redis(
    cache: Cache, pattern: str, hit: list[str], missed: list[str]
) -> None:
    await cache.set_many(dict.fromkeys(hit + missed, 1))
    assert await cache.invalidate_pattern(pattern) == len(hit)
    assert list(await cache.get_many(hit + missed)) == missed


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 2000, "[" + "a" * 2**20 + "]", "*a" * 33, "[a-\u00ff]"],
    ids=["stars", "class", "33 stars", "range"],
)
async def test_row_8_a_pattern_past_its_limits_is_refused(cache: Cache, pattern: str) -> None:
    await cache.set("a", 1)
    with pytest.raises(InvalidPattern):
        await cache.invalidate_pattern(pattern)
    assert size_of(cache) == 1


BAD_TTLS = [
    0,
    -1,
    0.0,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    1e18,
    pytest.param(10**400, id="past all floats"),
    10**18,
    315_576_001,
    True,
    False,
    b"5m",
    [5],
    "",
    "5 parsecs",
    "nope",
]
BAD_TTLS += [datetime.timedelta(0), datetime.timedelta(days=-1), datetime.timedelta(days=4000)]


@pytest.mark.parametrize("ttl", BAD_TTLS, ids=repr)
async def test_row_9_a_ttl_that_is_none_is_refused_and_changes_nothing(cache: Cache, ttl: Any) -> None:
    await cache.set("k", "before", ttl=100)
    loader = Loader("loaded")
    calls = [
        cache.set("k", 1, ttl=ttl),
        cache.set_many({"k": 1, "j": 1}, ttl=ttl),
        cache.add("new", 1, ttl=ttl),
        cache.incr("n", ttl=ttl),
        cache.touch("k", ttl),
        cache.get_or_set("new", loader, ttl=ttl),
        cache.get_or_set_many(["new"], loader, ttl=ttl),
        cache.warm({"new": 1}, ttl=ttl),
    ]
    if isinstance(ttl, bool) or ttl not in (0, datetime.timedelta(0)):  # a grace may be nothing
        calls.append(cache.set("k", 1, grace=ttl))
        calls.append(cache.get_or_set("new", loader, grace=ttl))
    for call in calls:
        with pytest.raises(InvalidTtl):
            await call
    for decorate in (cache.cached, cache.sync.cached):
        with pytest.raises(InvalidTtl):
            decorate("f", ttl=ttl)(lambda: 1)
    with pytest.raises(InvalidTtl):
        Cache.memory(default_ttl=ttl)
    assert loader.calls == 0
    assert await cache.get("k") == "before"
    assert size_of(cache) == 1
    assert cache.stats().flights == 0


async def test_row_9_less_than_a_millisecond_is_one(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=0.0004)
    clock.advance(0.0009)
    assert await cache.get("k") == 1
    clock.advance(0.0002)
    assert await cache.get("k") is None


async def test_row_9_ten_years_are_not_too_many(cache: Cache) -> None:
    await cache.set("k", 1, ttl=datetime.timedelta(days=3650))
    assert await cache.exists("k")


async def test_row_10_null_is_a_value_and_a_miss_is_not(cache: Cache) -> None:
    await cache.set("k", None)
    assert await cache.get("k", "default") is None
    assert await cache.get("x", "default") == "default"
    assert await cache.lookup("k")


def cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    return cycle


EXACT = [2**53 + 1, 2**63, 2**64 - 1, -(2**63), -0.0, 1e308, 5e-324, "\0", "🗝", b"\xff\x00", True, [], {}]
UNSUPPORTED = [
    math.nan,
    math.inf,
    -math.inf,
    2**64,
    -(2**63) - 1,
    {1, 2},
    frozenset(),
    cycle(),
    object(),
    1j,
    {1: 2},
    {"a": {None: 1}},
    "\ud800",
]
UNSUPPORTED += [lambda: 1, int, iter([]), bytearray(b"x"), [b"x"]]


@pytest.mark.parametrize("value", EXACT, ids=repr)
async def test_row_11_what_survives_survives_exactly(cache: Cache, value: Any) -> None:
    await cache.set("k", value)
    back = await cache.get("k")
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)


async def test_row_11_dates_and_decimals_are_text_unless_a_type_is_asked_for(cache: Cache) -> None:
    pytest.importorskip("pydantic")
    for value in (
        datetime.date(2026, 1, 31),
        decimal.Decimal("1.10"),
        datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc),
    ):
        await cache.set("k", value)
        assert isinstance(await cache.get("k"), str)
        assert await cache.get("k", as_=type(value)) == value


@pytest.mark.parametrize("value", UNSUPPORTED, ids=lambda value: type(value).__name__)
async def test_row_11_what_would_not_survive_is_refused(cache: Cache, value: Any) -> None:
    await cache.set("k", "before")
    for call in (
        cache.set("k", value),
        cache.set_many({"j": 1, "k": value}),
        cache.add("new", value),
        cache.get_or_set("new", lambda: value),
    ):
        with pytest.raises(UnsupportedValue):
            await call
    assert await cache.get("k") == "before"
    assert size_of(cache) == 1
    assert cache.stats().flights == 0


async def test_row_12_a_value_may_be_deep_but_not_too_deep(cache: Cache) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnsupportedValue):
        await cache.set("k", deep)
    while deep:
        deep = deep[0]


async def test_row_12_a_value_larger_than_the_cache_is_not_kept_and_hurts_nobody() -> None:
    cache = Cache.memory(max_bytes=100_000)
    await cache.set("small", 1)
    await cache.set("large", "x" * 1_000_000)
    assert await cache.get("large") is None
    assert await cache.get_or_set("large", lambda: "x" * 1_000_000) == "x" * 1_000_000
    assert cache.stats().bytes <= 100_000


async def test_row_16_a_lease_that_nobody_fills_holds_others_only_for_a_while() -> None:
    cache = Cache.memory(load_timeout=0.01)
    forgotten = await cache.lookup("k")
    assert await asyncio.wait_for(asyncio.to_thread(cache.sync.get_or_set, "k", lambda: 1), 5) == 1
    assert not forgotten


async def test_row_17_a_loader_that_raises_hangs_or_calls_itself_harms_nobody(clock: ManualClock) -> None:
    cache = Cache.memory(clock=clock, load_timeout=0.01)
    with pytest.raises(ZeroDivisionError):
        await cache.get_or_set("k", lambda: 1 / 0)
    hanging = Loader("late")
    hung = asyncio.create_task(cache.get_or_set("k", hanging))
    await hanging.begun.wait()
    assert await cache.get_or_set("k", lambda: "direct") == "direct"
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
    assert cache.stats().flights == 0

    async def itself(depth: int = 0) -> Any:
        return depth if depth == 3 else await cache.get_or_set("self", lambda: itself(depth + 1))

    assert await asyncio.wait_for(itself(), 5) == 3


async def test_row_17_a_loader_that_is_interrupted_frees_its_key(cache: Cache) -> None:
    class Interrupt(BaseException):
        pass

    def interrupted() -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        await cache.get_or_set("k", interrupted)
    with pytest.raises(Interrupt):
        cache.sync.get_or_set("k", interrupted)
    assert cache.stats().flights == 0


async def test_row_18_keys_without_end_stay_within_bounds() -> None:
    cache = Cache.memory(max_bytes=1_000_000)
    for number in range(20_000):
        assert await cache.get(f"missing:{number}") is None
        await cache.get_or_set(f"loaded:{number}", lambda: "x" * 100)
    assert cache.stats().bytes <= 1_000_000
    assert cache.stats().flights == 0
    assert cache.stats().evictions > 0


async def test_row_23_the_clock_of_the_wall_is_not_asked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    await cache.set("k", 1, ttl=10)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert await cache.ttl("k") == pytest.approx(10, abs=2)


@pytest.mark.memory
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_row_24_a_child_of_fork_has_an_empty_cache_of_its_own(cache: Cache) -> None:
    cache.rules.on("e", keys=["k"])
    cache.sync.set("k", "of the parent")
    held = cache.sync.lookup("led by the parent")
    lock = cache.sync.lock("locked by the parent", ttl=100)
    lock.__enter__()
    listening = cache.sync.subscribe("channel")
    child = os.fork()
    if child == 0:  # what fails in here shows as the exit status
        status = 1
        try:
            assert cache.sync.get("k") is None
            cache.sync.set("k", "of the child")
            assert cache.sync.get_or_set("led by the parent", lambda: "loaded") == "loaded"
            assert donjon.get_cache().sync.get("k") is None
            assert cache.sync.emit("e") == 1
            with cache.sync.lock("locked by the parent", ttl=1, wait=0):
                pass
            with pytest.raises(LockLost):
                lock.release()
            assert cache.sync.publish("channel", 1) == 0
            assert listening.next(0.001) is None
            assert asyncio.run(cache.get_or_set("loop", lambda: 1)) == 1
            cache._memory.core.validate()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.sync.get("k") == "of the parent"
    held.abandon()  # type: ignore[union-attr]
    lock.release()


@pytest.mark.memory
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_row_24_a_fork_amid_the_work_of_threads_does_not_hang(cache: Cache) -> None:
    import threading

    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache.sync.set(f"k:{number % 100}", {"n": number})
            cache.sync.get(f"k:{number % 77}")
            cache.sync.get_or_set(f"j:{number % 50}", lambda: 1)
            cache.sync.invalidate_pattern("k:1*")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    cache.sync.set("k:1", 1)
                    assert cache.sync.get("k:1") == 1
                    assert cache.sync.clear() == 1
                    status = 0
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_row_24_a_fork_while_the_first_cache_is_made_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from donjon import _process

    monkeypatch.setattr(_process, "_cache", None)
    with _process._making:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            status = 1
            try:
                assert donjon.get_cache().sync.get("k") is None
                status = 0
            finally:
                os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    "tags",
    [[""], ["ok", ""], ["\0seq"], ["*"], [f"t{n}" for n in range(10_000)]],
    ids=["empty", "second empty", "reserved", "star", "many"],
)
async def test_row_25_a_tag_that_is_none_is_refused(cache: Cache, tags: list[str]) -> None:
    with pytest.raises(InvalidTag):
        await cache.set("k", 1, tags=tags)
    assert not await cache.exists("k")
    if len(tags) < 100:
        with pytest.raises(InvalidTag):
            await cache.invalidate_tags(*tags)


@pytest.mark.parametrize("ttl", [*BAD_TTLS, donjon.FOREVER, None], ids=repr)
async def test_row_27_a_lock_needs_an_end(cache: Cache, ttl: Any) -> None:
    with pytest.raises(InvalidTtl):
        async with cache.lock("l", ttl=ttl):
            pass
    async with cache.lock("l", ttl=10) as held:
        if ttl is not None:
            with pytest.raises(InvalidTtl):
                await held.extend(ttl)
        assert not held.lost.is_set()


async def test_row_27_only_the_holder_releases_and_only_once(cache: Cache, clock: ManualClock) -> None:
    first = cache.lock("l", ttl=10)
    await first.__aenter__()
    await first.release()
    with pytest.raises(LockLost):
        await first.release()
    with pytest.raises(LockLost):
        await first.extend()
    stale = cache.lock("l", ttl=10)
    await stale.__aenter__()
    clock.advance(11)
    async with cache.lock("l", ttl=10, wait=0) as held:
        with pytest.raises(LockLost):
            await stale.extend()
        assert stale.lost.is_set()
        with pytest.raises(LockLost):
            await stale.release()
        with pytest.raises(LockTimeout):
            await cache.lock("l", ttl=10, wait=0).__aenter__()
        assert held.fence > stale.fence


def test_no_message_shows_a_value(cache: Cache) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        cache.sync.set("k", {"password": ["hush", object()]})
    assert not re.search("hush", str(caught.value))


async def test_one_text_is_no_list_of_tags_and_what_is_told_says_so(cache: Cache) -> None:
    loader = Loader(1)
    for call in (
        lambda: cache.set("k", 1, tags="abc"),
        lambda: cache.set_many({"k": 1}, tags="abc"),
        lambda: cache.get_or_set("k", loader, tags="abc"),
    ):
        with pytest.raises(TypeError, match=r"write \['abc'\]"):
            await call()
    assert loader.calls == 0 and not await cache.exists("k")
    await cache.set("k", 1, tags={"a"})
    await cache.invalidate_tags("a")
    assert not await cache.exists("k")


async def test_tags_are_checked_before_the_loader_runs(cache: Cache) -> None:
    loader = Loader(1)
    with pytest.raises(InvalidTag):
        await cache.get_or_set("k", loader, tags=["fine", ""])
    assert loader.calls == 0
