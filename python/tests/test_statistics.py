"""Declared statistics."""

from __future__ import annotations

from typing import Any

import pytest
from typing_extensions import TypedDict

from donjon import Cache, ConfigError, InvalidTemplate, InvalidTtl
from donjon.statistics import Statistics, statistic

pytest.importorskip("sqlalchemy")
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from donjon.sqlalchemy import Invalidation


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(primary_key=True)


class Count(TypedDict):
    scope: str
    calls: int


calls = 0


async def count_jobs(session: object) -> Count:
    global calls
    calls += 1
    return {"scope": "jobs", "calls": calls}


async def count_files(session: object, user_id: int | None = None) -> Count:
    global calls
    calls += 1
    return {"scope": f"files of {user_id}", "calls": calls}


@pytest.fixture
def stats(cache: Cache) -> Any:
    global calls
    calls = 0

    class StatsCache(Statistics):
        jobs = statistic(count_jobs, "jobs:stats", ttl="1m", invalidated_by=["job.*"], warm=True)
        files = statistic(count_files, "files:stats:{user_id}", ttl="1m", invalidated_by=["document.*"], warm=True)

    StatsCache.bind(cache)
    return StatsCache


async def test_a_statistic_is_computed_once_for_each_set_of_arguments_that_count(stats: Any, cache: Cache) -> None:
    for session in (object(), object()):
        assert await stats.jobs(session) == {"scope": "jobs", "calls": 1}
        assert await stats.files(session, 5) == {"scope": "files of 5", "calls": 2}
        assert await stats.files(session) == {"scope": "files of None", "calls": 3}
    assert 59 < (await cache.ttl(stats.files.key(user_id=5)) or 0) <= 60


async def test_a_forced_refresh_is_what_others_get_from_then_on(stats: Any) -> None:
    await stats.jobs(None)
    assert (await stats.jobs.get(None, force_refresh=True))["calls"] == 2
    assert (await stats.jobs.get(None))["calls"] == 2
    assert (await stats.jobs(None))["calls"] == 2


async def test_events_invalidate_what_they_are_declared_to(stats: Any, cache: Cache) -> None:
    await stats.warm(session=None)
    await cache.emit("job.completed", id=1)
    assert (await stats.jobs(None))["calls"] == 3
    assert (await stats.files(None))["calls"] == 2
    await cache.emit("document.created", id=1)
    assert (await stats.files(None))["calls"] == 4


async def test_one_all_of_one_and_all_can_be_invalidated(stats: Any, cache: Cache) -> None:
    async def fill() -> None:
        await stats.jobs(None)
        await stats.files(None, 1)
        await stats.files(None, 2)

    keys = ["jobs:stats", "files:stats:1", "files:stats:2"]
    for invalidate, left in (
        (lambda: stats.files.invalidate(user_id=1), {"jobs:stats", "files:stats:2"}),
        (stats.files.invalidate, {"jobs:stats"}),
        (stats.jobs.invalidate, {"files:stats:1", "files:stats:2"}),
        (stats.invalidate_all, set()),
    ):
        await fill()
        assert await invalidate() == 3 - len(left)
        assert set(await cache.get_many(keys)) == left


async def test_warming_computes_what_says_so_and_is_missing(stats: Any, cache: Cache) -> None:
    await stats.jobs(None)
    await stats.warm(session=None, other=1)
    assert calls == 2
    assert await cache.exists("files:stats:%null")


async def test_a_class_derived_from_another_has_its_statistics_too(stats: Any, cache: Cache) -> None:
    class More(stats):  # type: ignore[misc]
        later = statistic(count_files, "later:{user_id}")

    More.bind(cache)
    await More.jobs(None)
    await More.later(None, 1)
    assert await More.invalidate_all() == 2


async def test_mapped_classes_invalidate_by_their_commits(cache: Cache) -> None:
    class StatsCache(Statistics):
        jobs = statistic(count_jobs, "jobs:stats", invalidated_by=[Job])

    with pytest.raises(ConfigError, match=r"StatsCache\.jobs is invalidated by .*Job.*give `bind`"):
        StatsCache.bind(cache)
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    invalidation = Invalidation(cache)
    StatsCache.bind(cache, invalidation)
    invalidation.listen(sessions)
    before = await StatsCache.jobs(None)
    with sessions() as session:
        session.add(Job())
        session.flush()
        assert await StatsCache.jobs(None) == before
        session.commit()
    assert await StatsCache.jobs(None) != before
    engine.dispose()


@pytest.mark.memory
@pytest.mark.parametrize(
    ("compute", "options", "error"),
    [
        (lambda session: None, {"key": "k"}, TypeError),
        (count_jobs, {"key": "k:{nobody}"}, InvalidTemplate),
        (count_jobs, {"key": "k:{"}, InvalidTemplate),
        (count_jobs, {"key": "k", "ttl": True}, InvalidTtl),
        (count_jobs, {"key": "k", "invalidated_by": "job.*"}, TypeError),
        (count_jobs, {"key": "k", "invalidated_by": int}, TypeError),
    ],
)
def test_a_wrong_declaration_is_told_at_once(compute: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        statistic(compute, **options)


@pytest.mark.memory
def test_a_key_needs_what_has_no_default(cache: Cache) -> None:
    async def count(user_id: int) -> int:
        return user_id

    with pytest.raises(TypeError, match="needs 'user_id'"):
        statistic(count, "k:{user_id}").key()
