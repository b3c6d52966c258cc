"""A load reads the old row; the row changes and is invalidated while the load runs; the load ends. Who reads next?

The guide's literal forms keep the old row for its whole ttl. Every read of this application gives the new one.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

import guide
from app.core.database import Database
from app.services import app_config, documents, jobs, search, users
from app.services.ingestion import ingest_file
from app.services.stats_cache import StatsCache
from doubles import Paused, raced

Work = Callable[[AsyncSession], Awaitable[Any]]


def in_session(database: Database, work: Work) -> Callable[[], Awaitable[Any]]:
    """Each read and each change in a session of its own, as in requests."""

    async def run() -> Any:
        async with database.session() as session:
            return await work(session)

    return run


def rename(session: AsyncSession) -> Awaitable[Any]:
    return users.update_user(session, 1, {"name": "Renamed"})


@pytest.mark.parametrize("literal", [guide.get_user_profile_cached, guide.get_user_profile])
async def test_the_guides_literal_forms_serve_the_old_row_after_a_change_in_the_middle_of_a_load(
    database: Database, monkeypatch: pytest.MonkeyPatch, literal: Callable[..., Awaitable[Any]]
) -> None:
    paused = Paused.instead_of(monkeypatch, users, "load_user_profile")
    read = in_session(database, lambda session: literal(session, 1))

    seen = await raced(paused, read, in_session(database, rename))

    assert seen["name"] == "Keeper"
    async with database.session() as session:
        truth = await users.load_user_profile(session, 1)
    assert truth is not None
    assert truth["name"] == "Renamed"


@pytest.mark.parametrize("literal", [guide.get_user_profile_cached, guide.get_user_profile])
async def test_the_guides_literal_forms_never_cache_that_there_is_nothing(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch, literal: Callable[..., Awaitable[Any]]
) -> None:
    paused = Paused.instead_of(monkeypatch, users, "load_user_profile")
    paused.go_on()
    for _ in range(3):
        assert await literal(session, 99) is None
    assert paused.calls == 3


@pytest.mark.parametrize("safe", [users.get_user_profile_cached, users.get_user_profile])
async def test_the_safe_forms_cache_that_there_is_nothing(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch, safe: Callable[..., Awaitable[Any]]
) -> None:
    paused = Paused.instead_of(monkeypatch, users, "load_user_profile")
    paused.go_on()
    for _ in range(3):
        assert await safe(session, 99) is None
    assert paused.calls == 1


async def add_document(session: AsyncSession) -> Any:
    return await documents.create_document(session, user_id=1, title="New", content="something about castles")


async def retitle(session: AsyncSession) -> Any:
    return await documents.update_document(session, 1, title="New")


async def finish_job(session: AsyncSession) -> Any:
    return await jobs.finish(session, 1, "failed", "no reason")


READS: dict[str, tuple[object, str, Work, Work, Callable[[Any], Any], Any]] = {
    # what: (module, its loader, the read, the change, what of the answer to look at, what it must be)
    "a profile, by get_or_set": (
        users,
        "load_user_profile",
        lambda session: users.get_user_profile(session, 1),
        rename,
        lambda profile: profile["name"],
        "Renamed",
    ),
    "a profile, by lookup and fill": (
        users,
        "load_user_profile",
        lambda session: users.get_user_profile_cached(session, 1),
        rename,
        lambda profile: profile["name"],
        "Renamed",
    ),
    "the list of users": (
        users,
        "load_users",
        users.list_users,
        rename,
        lambda profiles: profiles[0]["name"],
        "Renamed",
    ),
    "the configuration": (
        app_config,
        "load_config",
        app_config.get_config,
        lambda session: app_config.set_config(session, "theme", "dark"),
        lambda config: config["theme"]["value"],
        "dark",
    ),
    "job statistics": (
        StatsCache.job_stats,
        "compute",
        StatsCache.get_job_stats,
        finish_job,
        lambda stats: stats["failed"],
        1,
    ),
    "file statistics of all": (
        StatsCache.file_stats,
        "compute",
        StatsCache.get_file_stats,
        add_document,
        lambda stats: stats["total"],
        2,
    ),
    "file statistics of one user": (
        StatsCache.file_stats,
        "compute",
        partial(StatsCache.get_file_stats, user_id=1),
        add_document,
        lambda stats: stats["total"],
        2,
    ),
    "the list of jobs": (jobs, "load_jobs", jobs.list_jobs, finish_job, lambda found: found[-1]["status"], "failed"),
    "a document": (
        documents,
        "load_document",
        lambda session: documents.get_document(session, 1),
        retitle,
        lambda document: document["title"],
        "New",
    ),
    "the list of documents": (
        documents,
        "load_list",
        documents.list_documents,
        add_document,
        lambda found: [document["title"] for document in found],
        ["New", "Old"],
    ),
    "the summary of documents": (
        documents,
        "load_summary",
        documents.get_summary,
        add_document,
        lambda summary: summary["documents"],
        2,
    ),
    "search results": (
        search,
        "run_search",
        lambda session: search.search(session, "moat"),
        retitle,
        lambda results: [result["title"] for result in results],
        ["New"],
    ),
}


@pytest.mark.parametrize("what", READS)
async def test_no_read_of_the_application_serves_the_old_row_after_a_change_in_the_middle_of_a_load(
    database: Database, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    module, loader, read, change, look_at, expected = READS[what]
    async with database.session() as session:
        document = await documents.create_document(session, user_id=1, title="Old", content="a moat around a keep")

    await ingest_file(database, document["id"])
    paused = Paused.instead_of(monkeypatch, module, loader)

    seen = await raced(paused, in_session(database, read), in_session(database, change))

    assert look_at(seen) == expected
    assert paused.calls == 2  # the first, whose value was refused, and the one that was served


async def test_a_job_that_is_queued_in_a_change_of_statistics_is_counted(database: Database) -> None:
    async with database.session() as session:
        before = (await StatsCache.get_job_stats(session))["queued"]
        await documents.create_document(session, user_id=1, title="One more", content="text")
        assert (await StatsCache.get_job_stats(session))["queued"] == before + 1
