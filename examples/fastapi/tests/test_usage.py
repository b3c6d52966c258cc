"""The guide's "Usage Patterns" and "Best Practices 1": what is cached, under which name, for how long."""

from datetime import timedelta
from typing import Any

import donjon
import pytest
from donjon import Cache
from donjon.testing import ManualClock
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache import get_cache, simple_cached
from app.models import User
from app.services import app_config, documents, search, users
from app.services.stats_cache import StatsCache
from doubles import Paused


async def test_direct_access_sets_gets_deletes_and_invalidates_by_pattern(cache: Cache, clock: ManualClock) -> None:
    await cache.set("user:123", {"name": "John"}, ttl=300)
    assert await cache.get("user:123") == {"name": "John"}

    clock.advance(301)
    assert await cache.get("user:123") is None

    await cache.set("user:123", {"name": "John"}, ttl=300)
    assert await cache.delete("user:123")
    assert await cache.get("user:123") is None

    await cache.set_many({"user:1": 1, "user:2": 2, "document:1": 3})
    assert await cache.invalidate_pattern("user:*") == 2
    assert await cache.get("document:1") == 3


async def test_get_cache_is_the_cache_of_the_running_application(app: object, cache: Cache) -> None:
    assert get_cache() is cache


async def test_a_profile_is_loaded_once_and_kept_for_five_minutes(
    session: AsyncSession, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted(monkeypatch, users, "load_user_profile")
    for read in (users.get_user_profile, users.get_user_profile_cached):
        profile = await read(session, 1)
        assert profile is not None
        assert profile["name"] == "Keeper"
    assert loads.calls == 1

    clock.advance(299)
    await users.get_user_profile(session, 1)
    assert loads.calls == 1
    clock.advance(1)
    await users.get_user_profile(session, 1)
    assert loads.calls == 2


async def test_simple_cached_keeps_what_a_mapped_instance_holds_and_gives_it_back_as_a_dict(
    session: AsyncSession, cache: Cache
) -> None:
    @simple_cached(lambda user_id: donjon.key("mapped", user_id), ttl=timedelta(minutes=5))
    async def get_user(user_id: int) -> Any:
        return await session.scalar(select(User).where(User.id == user_id))

    loaded, hit = await get_user(1), await get_user(1)
    assert loaded == hit
    assert hit["email"] == "keeper@example.org"
    assert await cache.exists("mapped:1")


async def test_job_statistics_are_counted_once_and_anew_on_force_refresh(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted(monkeypatch, StatsCache.job_stats, "compute")
    first = await StatsCache.get_job_stats(session)
    assert await StatsCache.get_job_stats(session) == first
    assert loads.calls == 1

    assert await StatsCache.get_job_stats(session, force_refresh=True) == first
    assert loads.calls == 2


async def test_a_forced_refresh_is_what_others_get_from_then_on(session: AsyncSession, cache: Cache) -> None:
    wrong = {**await StatsCache.get_job_stats(session), "total": -1}  # as if somebody had changed the table by hand
    await cache.set("jobs:stats", wrong, ttl="stats")
    assert (await StatsCache.get_job_stats(session))["total"] == -1
    await StatsCache.get_job_stats(session, force_refresh=True)
    assert (await StatsCache.get_job_stats(session))["total"] == 0


async def test_file_statistics_are_kept_for_each_user_and_for_all(session: AsyncSession) -> None:
    await documents.create_document(session, user_id=1, title="One", content="one")
    await documents.create_document(session, user_id=1, title="Two", content="two")
    await documents.create_document(session, user_id=2, title="Three", content="three")

    assert (await StatsCache.get_file_stats(session, user_id=1))["total"] == 2
    assert (await StatsCache.get_file_stats(session, user_id=2))["total"] == 1
    everything = await StatsCache.get_file_stats(session)
    assert (everything["total"], everything["bytes"], everything["waiting"]) == (3, 11, 3)


async def test_every_kind_of_data_lives_as_long_as_the_guides_table_says(
    session: AsyncSession, cache: Cache, clock: ManualClock
) -> None:
    await StatsCache.get_job_stats(session)
    await StatsCache.get_file_stats(session, user_id=1)
    await app_config.get_config(session)
    await users.get_user_profile(session, 1)
    await search.search(session, "castle")

    assert await cache.ttl("jobs:stats") == pytest.approx(60)
    assert await cache.ttl("files:stats:1") == pytest.approx(60)
    assert await cache.ttl("config:all") == pytest.approx(3600)
    assert await cache.ttl("user:profile:1") == pytest.approx(300)
    assert await cache.ttl(donjon.key("search", "all", 10, '"castle"*')) == pytest.approx(300)

    clock.advance(60)
    assert not await cache.exists("jobs:stats")
    assert await cache.exists("user:profile:1")
    clock.advance(240)
    assert not await cache.exists("user:profile:1")
    assert await cache.exists("config:all")


async def test_what_a_reader_does_to_its_answer_reaches_no_other_reader(session: AsyncSession) -> None:
    profile = await users.get_user_profile(session, 1)
    assert profile is not None
    profile["name"] = "scribbled over"
    again = await users.get_user_profile(session, 1)
    assert again is not None
    assert again["name"] == "Keeper"


def counted(patch: pytest.MonkeyPatch, module: object, name: str) -> Paused:
    """The loader, counting its calls."""
    paused = Paused.instead_of(patch, module, name)
    paused.go_on()
    return paused
