"""The calls of `Cache` and `cache.sync`, one by one."""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import ModuleType

import pytest
from loaders import until

import donjon
from donjon import FOREVER, Cache, CacheClosed, ConfigError, Hit, Miss, Removed
from donjon._donjon import ManualClock


async def test_what_was_set_is_read_back(cache: Cache) -> None:
    await cache.set("user:1", {"name": "Ada", "tags": ["a", None]})
    assert await cache.get("user:1") == {"name": "Ada", "tags": ["a", None]}
    assert await cache.get("user:2") is None
    assert await cache.get("user:2", "nobody") == "nobody"


@pytest.mark.memory
async def test_the_backend_is_named_as_the_setting_names_it(cache: Cache) -> None:
    assert cache.backend == cache.sync.backend == Cache.from_env({"CACHE_BACKEND": "memory"}).backend == "memory"


async def test_the_blocking_face_is_the_same_cache(cache: Cache) -> None:
    cache.sync.set("k", 1)
    assert await cache.get("k") == 1
    assert cache.sync is cache.sync


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(10, 10), (2.5, 2.5), (timedelta(minutes=1), 60), ("5m", 300), ("stats", 60)]
)
async def test_every_spelling_of_a_ttl_is_kept_to(
    cache: Cache, clock: ManualClock, ttl: donjon.Ttl, seconds: float
) -> None:
    await cache.set("k", 1, ttl=ttl)
    assert await cache.ttl("k") == pytest.approx(seconds, abs=0.002)
    clock.advance(seconds - 0.01)
    assert await cache.get("k") == 1
    clock.advance(0.02)
    assert await cache.get("k") is None


async def test_for_ever_has_no_end(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=FOREVER)
    clock.advance(50 * 365 * 86400)
    assert await cache.get("k") == 1
    assert await cache.ttl("k") == math.inf


async def test_the_default_ttl_is_the_one_given() -> None:
    cache = Cache.memory(
        clock=ManualClock(), default_ttl="10s", ttl_classes={"short": "2s", "long": timedelta(hours=1)}
    )
    for key, ttl in {"default": None, "short": "short", "long": "long"}.items():
        await cache.set(key, 1, ttl=ttl)
    assert [round(await cache.ttl(key) or 0) for key in ("default", "short", "long")] == [10, 2, 3600]


async def test_the_ttl_of_nothing_is_none(cache: Cache) -> None:
    assert await cache.ttl("k") is None


async def test_a_stale_value_is_read_until_its_grace_ends(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=10, grace=5)
    clock.advance(12)
    assert await cache.get("k") == 1
    assert cache.stats().stale == 1
    clock.advance(4)
    assert await cache.get("k") is None


async def test_a_grace_of_zero_is_none(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=10, grace=0)
    clock.advance(10.1)
    assert await cache.get("k") is None


async def test_many_at_a_time(cache: Cache) -> None:
    await cache.set_many({"a": 1, "b": 2, "c": 3}, ttl=60)
    assert await cache.get_many(["a", "x", "c"]) == {"a": 1, "c": 3}
    assert await cache.get_many(key for key in "ab") == {"a": 1, "b": 2}
    assert await cache.delete_many(["a", "x", "b"]) == 2
    assert await cache.get_many(["a", "b", "c"]) == {"c": 3}


async def test_a_lone_text_is_no_list_of_keys(cache: Cache) -> None:
    for call in (cache.get_many("abc"), cache.delete_many("abc"), cache.get_or_set_many("abc", dict.fromkeys)):
        with pytest.raises(TypeError, match="not one"):
            await call


async def test_add_stores_only_where_nothing_is(cache: Cache, clock: ManualClock) -> None:
    assert await cache.add("k", 1, ttl=10)
    assert not await cache.add("k", 2)
    assert await cache.get("k") == 1
    clock.advance(11)
    assert await cache.add("k", 3)


async def test_a_counter_counts_from_zero_and_keeps_its_ttl(cache: Cache, clock: ManualClock) -> None:
    assert await cache.incr("n", ttl=10) == 1
    clock.advance(6)
    assert await cache.incr("n", 5, ttl=100) == 6
    assert await cache.get("n") == 6
    clock.advance(5)
    assert await cache.get("n") is None
    assert await cache.incr("n", -2) == -2


async def test_what_is_no_integer_is_no_counter(cache: Cache) -> None:
    await cache.set("k", "text")
    with pytest.raises(donjon.NotACounter):
        await cache.incr("k")
    assert await cache.get("k") == "text"


async def test_a_sum_past_64_bits_is_refused_and_changes_nothing(cache: Cache) -> None:
    await cache.set("n", 2**63 - 1)
    with pytest.raises(donjon.NotACounter, match="64 bits"):
        await cache.incr("n")
    assert await cache.get("n") == 2**63 - 1


@pytest.mark.parametrize("bound", ["max_bytes", "max_entries"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_bound_is_positive(bound: str, value: int) -> None:
    with pytest.raises(donjon.ConfigError, match=f"`{bound}` is at least 1, not {value}"):
        Cache.memory(**{bound: value})  # type: ignore[arg-type]


async def test_touch_starts_the_ttl_anew(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=10)
    clock.advance(8)
    assert await cache.touch("k", 10)
    clock.advance(8)
    assert await cache.get("k") == 1
    assert not await cache.touch("x", 10)


async def test_exists_tells_a_value_from_none(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", None, ttl=10)
    assert await cache.exists("k")
    assert not await cache.exists("x")
    clock.advance(11)
    assert not await cache.exists("k")


async def test_delete_says_whether_a_value_was_there(cache: Cache) -> None:
    await cache.set("k", None)
    removed = await cache.delete("k")
    assert isinstance(removed, Removed)
    assert removed == 1
    assert not removed.queued
    assert not await cache.delete("k")


async def test_tags_invalidate_what_was_stored_with_them(cache: Cache) -> None:
    await cache.set("a", 1, tags=["jobs"])
    await cache.set("b", 2, tags=["jobs", "files"])
    await cache.set("c", 3, tags=["users"])
    await cache.set("d", 4)
    assert await cache.invalidate_tags("jobs", "other") == 2
    assert await cache.get_many(["a", "b", "c", "d"]) == {"c": 3, "d": 4}
    await cache.set("a", 5, tags=["jobs"])
    assert await cache.get("a") == 5


async def test_rules_turn_events_into_invalidations(cache: Cache) -> None:
    cache.rules.on("document.created", patterns=["documents:list*"])
    cache.rules.on("document.updated", keys=["document:{id}"], patterns=["documents:*summary*"], tags=["document:{id}"])
    cache.rules.on("job.*", patterns=["jobs:*"])
    await cache.set_many(
        dict.fromkeys(["documents:list:1", "document:1", "document:12", "documents:a:summary", "jobs:1"], 0)
    )
    await cache.set("tagged", 0, tags=["document:1"])
    await cache.emit("document.updated", id=1)
    left = ["documents:list:1", "document:12", "jobs:1"]
    assert (
        list(
            await cache.get_many(
                ["documents:list:1", "document:1", "document:12", "documents:a:summary", "jobs:1", "tagged"]
            )
        )
        == left
    )
    await cache.emit("job.finished", id=1)
    await cache.emit("document.created", id=2)
    assert list(await cache.get_many(left)) == ["document:12"]


async def test_what_an_event_says_is_no_wildcard(cache: Cache) -> None:
    cache.rules.on("search.changed", patterns=["search:{query}:*"])
    await cache.set_many({"search:a:1": 1, "search:b:1": 1})
    await cache.emit("search.changed", query="*")
    assert len(await cache.get_many(["search:a:1", "search:b:1"])) == 2


async def test_an_event_says_things_as_keys_do(cache: Cache) -> None:
    class Kind(enum.Enum):
        PDF = "pdf"

    cache.rules.on("file.changed", keys=["file:{kind}:{shared}"])
    await cache.set(donjon.key("file", Kind.PDF, True), 1)
    assert await cache.emit("file.changed", kind=Kind.PDF, shared=True) == 1
    with pytest.raises(donjon.InvalidKey, match="float"):
        await cache.emit("file.changed", kind=1.5, shared=True)


async def test_every_invalidation_says_that_it_holds(cache: Cache) -> None:
    cache.rules.on("e", keys=["k"])
    for call in (
        cache.delete("k"),
        cache.delete_many(["k"]),
        cache.invalidate_pattern("k*"),
        cache.invalidate_tags("t"),
        cache.clear(),
        cache.emit("e"),
    ):
        removed = await call
        assert type(removed) is Removed
        assert removed.queued is False


async def test_a_rule_that_is_one_text_is_refused(cache: Cache) -> None:
    with pytest.raises(TypeError, match="list"):
        cache.rules.on("e", keys="document:{id}")
    with pytest.raises(donjon.InvalidRule):
        cache.rules.on("e")


@pytest.mark.memory
async def test_statistics_count_every_look_up_once(cache: Cache) -> None:
    await cache.set("k", 1)
    await cache.get("k")
    await cache.get("x")
    await cache.get_or_set("k", lambda: 2)
    await cache.get_or_set("y", lambda: 2)
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.stale, stats.loads, stats.entries) == (2, 2, 0, 1, 2)
    assert stats.load_seconds >= 0
    assert (cache.get_hit_rate(), cache.get_miss_rate(), cache.get_size()) == (0.5, 0.5, 2)
    cache.reset_stats()
    assert (cache.stats().hits, cache.get_size(), cache.get_hit_rate()) == (0, 2, 0.0)


def test_a_stale_hit_is_a_hit() -> None:
    stats = donjon.CacheStats(hits=1, stale=1, misses=2)
    assert (stats.hit_rate, stats.miss_rate) == (0.5, 0.5)
    assert donjon.CacheStats().hit_rate == donjon.CacheStats().miss_rate == 0.0


async def test_explain_knows_tier_age_and_tags(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", 1, ttl=10, tags=["jobs"])
    clock.advance(3)
    known = await cache.explain("k")
    assert known["tier"] == "memory"
    assert known["tags"] == ["jobs"]
    assert known["age"] == pytest.approx(3, abs=0.01)
    assert isinstance(await cache.explain("never seen"), dict)


async def test_switched_off_it_misses_and_drops_but_loads_and_invalidates(cache: Cache) -> None:
    await cache.set("k", "before")
    await cache.set("left", "before")
    cache.enabled = False
    assert await cache.get("k") is None
    assert await cache.get_or_set("k", lambda: "loaded") == "loaded"
    await cache.set("new", 1)
    assert await cache.delete("k") in (0, 1)
    cache.enabled = True
    assert await cache.get_many(["k", "new", "left"]) == {"left": "before"}


async def test_a_cache_can_begin_switched_off() -> None:
    cache = Cache.from_env({"CACHE_ENABLED": "false"})
    await cache.set("k", 1)
    assert await cache.get("k") is None
    assert not cache.enabled


async def test_the_start_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "donjon"):
        async with Cache.memory(namespace="shop") as cache:
            await cache.connect()
            assert await cache.ping()
    assert caplog.messages == ["✓ Cache initialized (memory backend) namespace=shop tiers=memory"]
    assert caplog.records[0].levelno == logging.INFO
    with caplog.at_level(logging.INFO, "donjon"):
        await cache.connect()
        await cache.close()
    assert len(caplog.messages) == 2


async def test_several_workers_are_warned_of(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    async with Cache.memory():
        pass
    assert "3 worker processes" in caplog.text


@pytest.mark.parametrize(
    ("command", "count"),
    [
        (["uvicorn", "app:app", "--workers", "4"], 4),
        (["/venv/uvicorn/__main__.py", "app:app", "--workers=2"], 2),
        (["gunicorn", "-w4", "app:app"], 4),
        (["uvicorn", "app:app"], 1),
        (["uvicorn", "app:app", "--workers"], 1),
        (["backup", "--workers", "4"], 1),
        ([], 1),
    ],
)
def test_workers_are_seen_on_the_command_line(command: list[str], count: int) -> None:
    from donjon._workers import worker_count

    assert worker_count({}, command) == count
    assert worker_count({"WEB_CONCURRENCY": "many"}, command) == count


@pytest.mark.memory
async def test_a_closed_cache_says_so_and_opens_again_empty(cache: Cache) -> None:
    cache.rules.on("e", keys=["k"])
    await cache.connect()
    await cache.set("k", 1)
    await cache.close()
    assert not await cache.ping()
    for call in (
        cache.get("k"),
        cache.set("k", 1),
        cache.get_or_set("k", lambda: 1),
        cache.delete("k"),
        cache.lookup("k"),
    ):
        with pytest.raises(CacheClosed, match="connect"):
            await call
    await cache.connect()
    assert await cache.get("k") is None
    await cache.set("k", 1)
    assert await cache.emit("e") == 1
    await cache.close()


async def test_a_closed_cache_stays_off_where_it_was(cache: Cache) -> None:
    await cache.close()
    cache.enabled = False
    await cache.connect()
    assert not cache.enabled
    await cache.set("k", 1)
    assert not await cache.exists("k")
    await cache.close()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CACHE_NAMESPACE", "from-env")
    monkeypatch.setenv("CACHE_TTL_REPORT", "90")
    monkeypatch.setenv("CACHE_MAX_BYTE", "1000000")
    cache = Cache.from_env()
    assert cache.namespace == "from-env"
    cache.sync.set("k", 1, ttl="report")
    assert cache.sync.ttl("k") == pytest.approx(90, abs=1)
    assert "CACHE_MAX_BYTES" in caplog.text


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="CACHE_TTL_STATS"):
        Cache.from_env({"CACHE_TTL_STATS": "soon"})


def test_an_unknown_ttl_class_names_the_nearest(cache: Cache) -> None:
    with pytest.raises(donjon.InvalidTtl, match="stats"):
        cache.sync.set("k", 1, ttl="stat")


@pytest.mark.memory
async def test_sweeps_free_their_values_between_other_work(cache: Cache) -> None:
    await cache.set_many({f"k:{number}": {"n": [number]} for number in range(10_000)})
    assert await cache.invalidate_pattern("k:*") == 10_000
    assert cache.get_size() == 0
    await asyncio.sleep(0)
    with_more = [cache._memory.core.bury(0) for _ in range(10) if not await asyncio.sleep(0)]
    assert with_more[0] is True
    assert with_more[-1] is False
    cache.sync.set_many({f"k:{number}": {"n": [number]} for number in range(10_000)})
    assert await asyncio.to_thread(cache.sync.clear) == 10_000
    assert not cache._memory.core.bury(0)


async def test_expired_values_leave_without_being_read(
    cache: Cache, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("donjon._cache._TEND_SECONDS", 0.0)
    async with cache:
        await cache.set_many({f"k{number}": number for number in range(2500)}, ttl=10)
        clock.advance(11)
        await until(lambda: cache.get_size() == 0)
        assert cache.stats().expirations == 2500
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not complaints


async def test_what_expired_leaves_in_slices_that_hold_nobody_up(cache: Cache, clock: ManualClock) -> None:
    await cache.set_many({f"k{number}": number for number in range(10_000)}, ttl=10)
    clock.advance(11)
    assert cache._memory.core.expire()
    assert 7_000 <= cache.get_size() < 10_000
    while cache._memory.core.expire():
        pass
    assert cache.get_size() == 0


async def test_tags_take_their_share_of_the_room() -> None:
    cache = Cache.memory(max_bytes=1_000_000)
    for number in range(1_000):
        await cache.set(f"k{number}", number, tags=[f"{number}:{place}:{'t' * 100}" for place in range(20)])
    assert 100 < cache.get_size() < 300
    assert cache.stats().bytes <= 1_000_000


async def test_a_hit_is_true_and_a_miss_is_false(cache: Cache) -> None:
    found = await cache.lookup("k")
    assert isinstance(found, Miss)
    assert not found
    assert await cache.fill(found, None, ttl=10)
    found = await cache.lookup("k")
    assert isinstance(found, Hit)
    assert found
    assert found.value is None
    with pytest.raises(TypeError, match="hit"):
        await cache.fill(found, 1)


async def test_a_miss_is_filled_once(cache: Cache) -> None:
    found = await cache.lookup("k")
    assert await cache.fill(found, 1)
    with pytest.raises(ValueError, match="already"):
        await cache.fill(found, 2)
    assert await cache.get("k") == 1


def test_everything_public_is_listed() -> None:
    public = {
        name for name, thing in vars(donjon).items() if not name.startswith("_") and not isinstance(thing, ModuleType)
    }
    assert public == set(donjon.__all__)


def _calls(face: type) -> Iterator[str]:
    return (name for name in dir(face) if not name.startswith("_"))


def test_both_faces_offer_the_same_calls() -> None:
    of_life: Iterable[str] = {"announce", "close", "connect", "from_env", "memory", "redis"}
    assert set(_calls(Cache)) - set(of_life) == set(_calls(donjon.SyncCache))


def test_the_process_has_one_cache(donjon_cache: Cache, donjon_clock: ManualClock) -> None:
    assert donjon.get_cache() is donjon_cache
    donjon_cache.sync.set("k", 1, ttl="5m")
    donjon_clock.advance(299)
    assert donjon_cache.sync.get("k") == 1
    donjon_clock.advance(2)
    assert donjon_cache.sync.get("k") is None


def test_a_test_leaves_nothing_behind() -> None:
    from donjon.testing import ManualClock

    cache = donjon.get_cache()
    cache.sync.set("kept", 1)
    with cache._memory.set_aside(ManualClock()):
        assert cache.sync.get("kept") is None
        cache.sync.set("lost", 1)
        cache.enabled = False
    assert cache.sync.get_many(["kept", "lost"]) == {"kept": 1}
    assert cache.enabled
    cache.sync.delete("kept")


async def test_what_is_closed_twice_is_closed(cache: Cache) -> None:
    async with cache:
        await cache.close()
    with pytest.raises(CacheClosed):
        await cache.get("k")
