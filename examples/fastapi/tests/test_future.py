"""The guide's "Future Enhancements", which are not in the future here: notifications, locks, analytics."""

import asyncio
import json

import httpx
import pytest
from donjon import Cache
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.core.database import Database
from app.core.settings import Settings
from app.services import documents, ingestion
from conftest import ADMIN
from doubles import Paused
from server import Server


async def test_what_is_published_to_a_user_reaches_who_listens(cache: Cache) -> None:
    async with cache.subscribe("notifications:user:123") as messages:
        await cache.publish("notifications:user:124", {"text": "for another"})
        await cache.publish("notifications:user:123", {"text": "hello"})
        message = await anext(messages)
    assert message.data == {"text": "hello"}


async def test_a_websocket_gets_the_notifications_of_its_user_and_of_no_other(server: Server) -> None:
    async with (
        httpx.AsyncClient(base_url=server.url) as client,
        connect(f"{server.ws}/api/v1/notifications/1") as mine,
        connect(f"{server.ws}/api/v1/notifications/2") as other,
    ):
        new = {"user_id": 1, "title": "Castles", "content": "a moat around a keep"}
        document = (await client.post("/api/v1/documents", json=new)).json()
        message = json.loads(await asyncio.wait_for(mine.recv(), 30))
        assert message == {
            "type": "document.indexed",
            "document_id": document["id"],
            "title": "Castles",
            "version": 1,
            "chunks": 1,
        }
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(other.recv(), 0.2)


async def test_a_notification_comes_when_search_finds_what_it_is_about(server: Server) -> None:
    async with (
        httpx.AsyncClient(base_url=server.url) as client,
        connect(f"{server.ws}/api/v1/notifications/2") as socket,
    ):
        for number in range(10):
            assert (await client.get("/api/v1/search", params={"q": f"portcullis{number}"})).json() == []
            new = {"user_id": 2, "title": "Gates", "content": f"portcullis{number}"}
            document = (await client.post("/api/v1/documents", json=new)).json()
            await asyncio.wait_for(socket.recv(), 30)
            found = (await client.get("/api/v1/search", params={"q": f"portcullis{number}"})).json()
            assert [hit["document_id"] for hit in found] == [document["id"]]


async def test_the_websocket_of_nobody_is_closed_with_a_reason(server: Server) -> None:
    async with connect(f"{server.ws}/api/v1/notifications/999999") as socket:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 30)
        assert (socket.close_code, socket.close_reason) == (4404, "there is no such user")


async def test_only_one_worker_processes_a_file_at_a_time(
    database: Database, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.session() as session:
        await documents.create_document(session, user_id=1, title="t", content="text")
    paused = Paused.instead_of(monkeypatch, ingestion, "_index")

    first = asyncio.create_task(ingestion.ingest_file(database, 1))
    await paused.has_read.wait()
    second = asyncio.create_task(ingestion.ingest_file(database, 1))
    await asyncio.sleep(0.05)
    assert paused.calls == 1, "two workers are at one file"

    paused.go_on()
    await asyncio.wait_for(asyncio.gather(first, second), 30)
    assert paused.calls == 2


async def test_workers_process_different_files_side_by_side(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.session() as session:
        for title in ("one", "two"):
            await documents.create_document(session, user_id=1, title=title, content="text")
    paused = Paused.instead_of(monkeypatch, ingestion, "_index")

    first = asyncio.create_task(ingestion.ingest_file(database, 1))
    await paused.has_read.wait()
    await asyncio.wait_for(ingestion.ingest_file(database, 2), 30)
    paused.go_on()
    await asyncio.wait_for(first, 30)


async def test_the_cache_statistics_are_the_guides(client: httpx.AsyncClient, settings: Settings) -> None:
    for _ in range(4):
        await client.get("/api/v1/users/1")
    for path in ("/api/v1/admin/cache/stats", "/admin/cache/stats"):
        stats = (await client.get(path, headers=ADMIN)).json()
        assert (stats["hit_rate"], stats["miss_rate"], stats["size"]) == (0.75, 0.25, 1)
        assert stats["cache_backend"] == "memory"
        assert stats["details"]["loads"] == 1
