"""The guide's "Cache Invalidation Strategy" and "Integration Points 1": what a change makes untrue, and when it is said."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from donjon import Cache
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database, commit
from app.core.settings import Settings
from app.models import User
from app.services import app_config, documents, ingestion, jobs, users
from app.services.stats_cache import StatsCache

KEYS = [
    "document:1",
    "document:2",
    "documents:list:all:0:20",
    "documents:list:1:0:20",
    "documents:summary",
    "documents:monthly-summary:5",
    "response:http://app/api/v1/documents/1/content",
    "response:http://app/api/v1/documents/2/content?x",
    "files:stats:%null",
    "files:stats:1",
    "files:stats:2",
    "jobs:stats",
    "jobs:list:20",
    "user:profile:1",
    "user:profile:2",
    "users:list",
    "config:all",
]
DOCUMENTS = {key for key in KEYS if key.startswith(("documents:", "files:"))} | {"search"}
JOBS = {"jobs:stats", "jobs:list:20"}


def document(number: int) -> set[str]:
    return {
        key for key in KEYS if key.startswith((f"document:{number}", f"response:http://app/api/v1/documents/{number}/"))
    }


Gone = Callable[[], Awaitable[set[str]]]


@pytest.fixture
async def full(session: AsyncSession, cache: Cache) -> Gone:
    """One document, and a cache that holds something under every key; gives which of them are gone, `search` for the search results."""
    await documents.create_document(session, user_id=1, title="Old", content="old")
    await cache.set_many(dict.fromkeys(KEYS, True))
    await cache.set("search", True, tags=["search"])

    async def gone() -> set[str]:
        return {key for key in [*KEYS, "search"] if await cache.get(key) is None}

    return gone


async def test_a_new_document_invalidates_lists_summaries_statistics_and_search_results(
    full: Gone, session: AsyncSession
) -> None:
    await documents.create_document(session, user_id=2, title="New", content="new")
    assert await full() == DOCUMENTS | document(2) | JOBS  # its key too: that there was none was cached


async def test_a_changed_document_invalidates_its_key_and_what_is_derived_from_it(
    full: Gone, session: AsyncSession
) -> None:
    await documents.update_document(session, 1, title="New")
    assert await full() == DOCUMENTS | document(1)


async def test_a_deleted_document_invalidates_as_a_changed_one(full: Gone, session: AsyncSession) -> None:
    await documents.delete_document(session, 1)
    assert await full() == DOCUMENTS | document(1)


async def test_an_import_of_many_documents_invalidates_all_of_them_at_once(
    full: Gone, database: Database, settings: Settings
) -> None:
    assert settings.docs is not None
    (settings.docs / "a.md").write_text("a text to import " * 20)
    await ingestion.import_documents(database, settings.docs)
    assert await full() == DOCUMENTS | document(1) | document(2) | JOBS


async def test_a_job_that_changes_its_status_invalidates_everything_about_jobs_and_nothing_else(
    full: Gone, session: AsyncSession
) -> None:
    await jobs.finish(session, 1, "completed")
    assert await full() == JOBS


async def test_a_changed_user_invalidates_one_profile(full: Gone, session: AsyncSession) -> None:
    await users.update_user(session, 1, {"name": "New"})
    assert await full() == {"user:profile:1", "users:list"}


async def test_a_new_user_invalidates_that_there_was_none(full: Gone, session: AsyncSession, cache: Cache) -> None:
    await cache.set("user:profile:3", None)
    await users.create_user(session, name="New", email="new@example.org")
    assert await full() == {"users:list"}
    assert not await cache.exists("user:profile:3")


async def test_a_changed_setting_invalidates_the_configuration(full: Gone, session: AsyncSession) -> None:
    await app_config.set_config(session, "theme", "dark")
    assert await full() == {"config:all"}


async def test_manual_invalidation_drops_what_it_says(full: Gone) -> None:
    await StatsCache.invalidate_file_stats(user_id=1)
    assert await full() == {"files:stats:1"}
    await StatsCache.invalidate_file_stats()
    assert await full() == {"files:stats:%null", "files:stats:1", "files:stats:2"}
    await StatsCache.invalidate_job_stats()
    assert "jobs:stats" in await full()
    assert "jobs:list:20" not in await full()


async def test_all_statistics_can_be_invalidated_at_once(full: Gone) -> None:
    await StatsCache.invalidate_all()
    assert await full() == {"jobs:stats", "files:stats:%null", "files:stats:1", "files:stats:2"}


async def test_one_pattern_invalidates_in_bulk_what_a_loop_of_deletes_would(cache: Cache) -> None:
    await cache.set_many({f"user:{number}:profile": number for number in range(200)} | {"user:5:settings": 1})
    assert await cache.invalidate_pattern("user:*:profile") == 200
    assert await cache.get("user:5:settings") == 1


# -- commit first, then invalidate ---------------------------------------------------------------------

CHANGES: dict[str, Callable[[Database, AsyncSession], Awaitable[object]]] = {
    "create a user": lambda _, session: users.create_user(session, name="New", email="new@example.org"),
    "update a user": lambda _, session: users.update_user(session, 1, {"name": "New"}),
    "create a document": lambda _, session: documents.create_document(session, user_id=1, title="t", content="new"),
    "update a title": lambda _, session: documents.update_document(session, 1, title="New"),
    "update a content": lambda _, session: documents.update_document(session, 1, content="new"),
    "delete a document": lambda _, session: documents.delete_document(session, 1),
    "set a configuration": lambda _, session: app_config.set_config(session, "theme", "dark"),
    "claim a job": lambda _, session: jobs.claim(session),
    "finish a job": lambda _, session: jobs.finish(session, 1, "completed"),
    "ingest a file": lambda database, _: ingestion.ingest_file(database, 1),
    "import a folder": lambda database, _: ingestion.import_documents(database, None),
}
TABLES = ("users", "documents", "chunks", "jobs", "app_config")


@pytest.mark.parametrize("what", CHANGES)
async def test_no_change_is_announced_before_it_is_committed(
    what: str, database: Database, cache: Cache, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.session() as session:
        await documents.create_document(session, user_id=1, title="Old", content="old")
    assert settings.docs is not None
    monkeypatch.setattr(ingestion, "find_documents", lambda _: ingestion._in_folder(settings.docs, ""))
    (settings.docs / "readme.md").write_text("a text to import " * 20)

    def committed() -> list[Any]:
        with sqlite3.connect(settings.database) as other:
            return [other.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES]

    seen: list[list[Any]] = []

    def watched(name: str) -> Callable[..., Awaitable[Any]]:
        tell = getattr(cache, name)

        async def watch(*what: Any) -> Any:
            seen.append(committed())
            return await tell(*what)

        return watch

    before = committed()
    for name in ("delete_many", "invalidate_pattern", "invalidate_tags"):
        monkeypatch.setattr(cache, name, watched(name))
    async with database.session() as session:
        await CHANGES[what](database, session)

    assert seen, "the change was not announced"
    assert seen[0] != before, "the first announcement came before the commit"
    assert seen[-1] == committed(), "something was committed after the last announcement"


async def test_a_rolled_back_change_leaves_the_cache_and_the_answers_as_they_were(session: AsyncSession) -> None:
    await users.get_user_profile(session, 1)
    session.add(User(name="Never", email="never@example.org"))
    await session.flush()
    await session.rollback()
    assert len(await users.list_users(session)) == 2


async def test_a_request_cancelled_during_its_commit_still_commits_and_then_invalidates(
    session: AsyncSession, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, go_on = asyncio.Event(), asyncio.Event()
    plain = session.commit

    async def slow_commit() -> None:
        committing.set()
        await go_on.wait()
        await plain()

    monkeypatch.setattr(session, "commit", slow_commit)
    await cache.set("users:list", "old")
    session.add(User(name="New", email="new@example.org"))
    request = asyncio.create_task(commit(session))
    await committing.wait()
    request.cancel()
    await asyncio.sleep(0)
    assert not request.done(), "the session would be closed under its commit"
    assert await cache.exists("users:list")
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not await cache.exists("users:list")
    assert len(await users.load_users(session)) == 3
