"""The guide's "Cache Invalidation Strategy" and "Integration Points 1": what a change makes untrue, and when it is said."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from donjon import Cache
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database, commit_then
from app.core.settings import Settings
from app.handlers.resource import handle_create_resource
from app.models import User
from app.services import app_config, documents, ingestion, jobs, users
from app.services.cache_invalidation import (
    on_job_status_changed,
    on_resource_created,
    on_resource_deleted,
    on_resource_updated,
    on_resources_imported,
)
from app.services.stats_cache import StatsCache

KEYS = [
    "document:123",
    "document:124",
    "documents:list:all:0:20",
    "documents:list:1:0:20",
    "documents:summary",
    "documents:monthly-summary:5",
    "files:stats:all",
    "files:stats:user:123",
    "files:stats:user:124",
    "jobs:stats",
    "jobs:list:20",
    "user:profile:123",
    "user:profile:124",
    "users:list",
    "config:all",
]
DOCUMENTS = {key for key in KEYS if key.startswith(("documents:", "files:"))}


@pytest.fixture
async def full(app: object, cache: Cache) -> Callable[[], Awaitable[set[str]]]:
    """A cache that holds something under every key; gives which of them are gone, `search` for the search results."""
    await cache.set_many(dict.fromkeys(KEYS, True))
    await cache.set("search", True, tags=["search"])

    async def gone() -> set[str]:
        return {key for key in [*KEYS, "search"] if await cache.get(key) is None}

    return gone


async def test_a_new_document_invalidates_lists_summaries_statistics_and_search_results(
    full: Callable[[], Awaitable[set[str]]],
) -> None:
    await on_resource_created(resource_type="document", resource_id=123)
    assert await full() == DOCUMENTS | {"document:123", "search"}  # the key too: that there was none was cached


async def test_a_changed_document_invalidates_its_key_and_what_is_derived_from_it(
    full: Callable[[], Awaitable[set[str]]],
) -> None:
    await on_resource_updated(resource_type="document", resource_id=123)
    assert await full() == DOCUMENTS | {"document:123", "search"}


async def test_a_deleted_document_invalidates_as_a_changed_one(full: Callable[[], Awaitable[set[str]]]) -> None:
    await on_resource_deleted(resource_type="document", resource_id=123)
    assert await full() == DOCUMENTS | {"document:123", "search"}


async def test_an_import_of_many_documents_invalidates_all_of_them_at_once(
    full: Callable[[], Awaitable[set[str]]],
) -> None:
    await on_resources_imported("document")
    assert await full() == DOCUMENTS | {"document:123", "document:124", "search"}


async def test_a_job_that_changes_its_status_invalidates_everything_about_jobs_and_nothing_else(
    full: Callable[[], Awaitable[set[str]]],
) -> None:
    await on_job_status_changed(job_id=42, old_status="running", new_status="completed")
    assert await full() == {"jobs:stats", "jobs:list:20"}


async def test_a_changed_user_invalidates_one_profile(full: Callable[[], Awaitable[set[str]]]) -> None:
    await on_resource_updated("user", 123)
    assert await full() == {"user:profile:123", "users:list"}


async def test_a_changed_setting_invalidates_the_configuration(full: Callable[[], Awaitable[set[str]]]) -> None:
    await on_resource_updated("config", "theme")
    assert await full() == {"config:all"}


async def test_a_resource_type_that_nothing_depends_on_invalidates_nothing(
    full: Callable[[], Awaitable[set[str]]],
) -> None:
    await on_resource_updated("comment", 1)
    assert await full() == set()


async def test_manual_invalidation_drops_what_it_says(full: Callable[[], Awaitable[set[str]]]) -> None:
    await StatsCache.invalidate_file_stats(user_id=123)
    assert await full() == {"files:stats:user:123"}
    await StatsCache.invalidate_file_stats()
    assert await full() == {"files:stats:all", "files:stats:user:123", "files:stats:user:124"}
    await StatsCache.invalidate_job_stats()
    assert "jobs:stats" in await full()
    assert "jobs:list:20" not in await full()


async def test_all_statistics_can_be_invalidated_at_once(full: Callable[[], Awaitable[set[str]]]) -> None:
    await StatsCache.invalidate_all_stats()
    assert await full() == {"jobs:stats", "files:stats:all", "files:stats:user:123", "files:stats:user:124"}


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
    emit = cache.emit

    async def watched(event: str, /, **params: object) -> Any:
        seen.append(committed())
        return await emit(event, **params)

    before = committed()
    monkeypatch.setattr(cache, "emit", watched)
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
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    committing, go_on = asyncio.Event(), asyncio.Event()

    async def slow_commit() -> None:
        committing.set()
        await go_on.wait()
        order.append("committed")

    async def announce() -> None:
        order.append("announced")

    monkeypatch.setattr(session, "commit", slow_commit)
    request = asyncio.create_task(commit_then(session, announce))
    await committing.wait()
    request.cancel()
    await asyncio.sleep(0)
    assert order == []
    assert not request.done(), "the session would be closed under its commit"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert order == ["committed", "announced"]


async def test_a_commit_of_unknown_outcome_invalidates_all_the_same(
    session: AsyncSession, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost() -> None:
        raise ConnectionResetError("the answer to COMMIT never came")

    monkeypatch.setattr(session, "commit", lost)
    await cache.set("document:5", "old")
    with pytest.raises(ConnectionResetError):
        await handle_create_resource("document", 5, session)
    assert await cache.get("document:5") is None


async def test_an_id_with_wildcards_invalidates_its_own_key_only(cache: Cache, app: object) -> None:
    cache.rules.on("thing.updated", keys=["thing:{id}"], patterns=["things:{id}:*"])
    await cache.set_many({"thing:*": 1, "thing:1": 1, "things:*:a": 1, "things:1:a": 1})
    await on_resource_updated("thing", "*")
    assert await cache.get_many(["thing:*", "thing:1", "things:*:a", "things:1:a"]) == {"thing:1": 1, "things:1:a": 1}
