"""The guide's "Integration Points 3": after bulk work the caches are warm, and warming is no way for old rows to come back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from donjon import Cache
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database
from app.core.settings import Settings
from app.services import documents
from app.services.cache_warmer import warm_resource_caches
from app.services.ingestion import import_documents
from app.services.stats_cache import StatsCache
from app.services.worker import JobRunner
from conftest import client_of, started
from doubles import Paused, raced

TEXT = "A keep is the strongest tower of a castle, and the last to fall. " * 8


async def test_warming_documents_loads_what_visitors_ask_for(session: AsyncSession, cache: Cache) -> None:
    for number in range(3):
        await documents.create_document(session, user_id=1, title=f"Text {number}", content=TEXT)

    assert await warm_resource_caches(session, resource_type="document") == 3

    misses = cache.stats().misses
    for number in (1, 2, 3):
        assert await documents.get_document(session, number) is not None
    await documents.list_documents(session)
    await documents.get_summary(session)
    await StatsCache.get_job_stats(session)
    await StatsCache.get_file_stats(session)
    assert cache.stats().misses == misses


async def test_warming_users_loads_their_profiles(session: AsyncSession, cache: Cache) -> None:
    assert await warm_resource_caches(session, resource_type="user") == 2
    assert await cache.exists("user:profile:1")
    assert await cache.ttl("user:profile:1") == pytest.approx(300)


async def test_warming_twice_loads_nothing_the_second_time(session: AsyncSession) -> None:
    await documents.create_document(session, user_id=1, title="Text", content=TEXT)
    assert await warm_resource_caches(session) == 1
    assert await warm_resource_caches(session) == 0


async def test_a_change_in_the_middle_of_warming_leaves_no_old_row_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.session() as session:
        await documents.create_document(session, user_id=1, title="Old", content=TEXT)
    paused = Paused.instead_of(monkeypatch, documents, "load_document")

    async def read() -> documents.DocumentText | None:
        async with database.session() as session:
            await warm_resource_caches(session)
            return await documents.get_document(session, 1)

    async def change() -> None:
        async with database.session() as session:
            await documents.update_document(session, 1, title="New")

    seen = await raced(paused, read, change)
    assert seen is not None
    assert seen["title"] == "New"


async def test_after_a_bulk_ingestion_the_next_visitors_are_answered_from_the_cache(
    settings: Settings, cache: Cache
) -> None:
    assert settings.docs is not None
    for number in range(15):
        (settings.docs / f"{number}.md").write_text(f"# Text {number}\n\n{TEXT}{number}")

    async with started(settings, cache) as app:
        await import_documents(app.state.database, settings.docs)
        working = settings.model_copy(update={"job_workers": 2})
        async with JobRunner(app.state.database, working):
            await asyncio.wait_for(until(lambda: cache.exists("document:15")), 30)
        misses = cache.stats().misses
        async with client_of(app) as client:
            assert (await client.get("/api/v1/documents/15")).json()["status"] == "indexed"
            assert (await client.get("/api/v1/stats")).json()["jobs"]["completed"] == 15
            assert len((await client.get("/api/v1/documents")).json()) == 15
        assert cache.stats().misses == misses


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)
