"""The guide's "Handle Cache Failures Gracefully": with a cache that is down, every answer is the database's."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from app.core.cache import or_directly
from app.core.settings import Settings
from app.services import documents, ingestion, users
from app.services.worker import JobRunner
from conftest import ADMIN, client_of, started
from doubles import BrokenCache


@pytest.fixture
async def broken(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose cache is down."""
    async with started(settings, BrokenCache.memory()) as app, client_of(app) as client:
        async with app.state.database.session() as session:
            await documents.create_document(session, user_id=1, title="Castles", content="a moat around a keep")
        yield client


READS = [
    "/api/v1/admin/jobs/status",
    "/api/v1/admin/jobs/status?force_refresh=true",
    "/api/v1/admin/files/status",
    "/api/v1/admin/files/status?user_id=1",
    "/api/v1/stats",
    "/api/v1/jobs",
    "/api/v1/documents",
    "/api/v1/documents/1",
    "/api/v1/documents/summary",
    "/api/v1/users",
    "/api/v1/users/1",
    "/api/v1/config",
    "/api/v1/search?q=moat",
    "/api/v1/search?q=%22",
]


@pytest.mark.parametrize("path", READS)
async def test_every_read_is_answered_from_the_database_when_the_cache_is_down(
    broken: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    answer = await broken.get(path, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    if path != "/api/v1/search?q=%22":  # no word to look for: nothing is asked of the cache
        assert "Cache failed, using direct query: the cache is down" in caplog.text


async def test_the_answer_is_the_same_as_with_a_cache_that_works(
    broken: httpx.AsyncClient,
) -> None:
    answer = (await broken.get("/api/v1/admin/jobs/status", headers=ADMIN)).json()
    assert answer["data"] == {
        "total": 1,
        "queued": 1,
        "running": 0,
        "completed": 0,
        "failed": 0,
        "average_seconds": None,
    }
    assert (await broken.get("/api/v1/users/99")).status_code == 404


async def test_every_change_goes_through_and_the_lost_invalidation_is_an_error_in_the_log(
    broken: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    changes = [
        await broken.post("/api/v1/users", json={"name": "Ada", "email": "ada@example.org"}),
        await broken.patch("/api/v1/users/1", json={"name": "Renamed"}),
        await broken.put("/api/v1/admin/config/theme", json={"value": "dark"}, headers=ADMIN),
        await broken.post("/api/v1/documents", json={"user_id": 1, "title": "t", "content": "text"}),
        await broken.put("/api/v1/documents/1", json={"title": "New"}),
        await broken.delete("/api/v1/documents/1"),
    ]
    assert [answer.status_code for answer in changes] == [201, 200, 200, 201, 200, 204]
    assert (await broken.get("/api/v1/users/1")).json()["name"] == "Renamed"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) >= len(changes)
    assert "entries may be stale until their ttl ends" in errors[0].getMessage()


async def test_an_error_of_the_database_is_not_asked_for_twice(session: object) -> None:
    calls = 0

    async def failing() -> None:
        nonlocal calls
        calls += 1
        raise OperationalError("SELECT 1", {}, Exception("database is gone"))

    with pytest.raises(OperationalError):
        await or_directly(failing(), failing)
    assert calls == 1


async def test_a_job_that_cannot_lock_its_file_fails_and_says_why(settings: Settings) -> None:
    async with started(settings, BrokenCache.memory()) as app:
        database = app.state.database
        async with database.session() as session:
            await documents.create_document(session, user_id=1, title="t", content="text")
        runner = JobRunner(database, settings)
        assert await runner._one()
        async with client_of(app) as client:
            job = (await client.get("/api/v1/jobs")).json()[0]
    assert (job["status"], job["error"]) == ("failed", "ConnectionError: the cache is down")


async def test_a_lost_notification_fails_nobodys_work(
    app: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.ingestion.get_cache", BrokenCache.memory)
    await ingestion.notify(1, {"type": "document.indexed"})
    assert "a notification for user 1 was lost" in caplog.text


async def test_a_websocket_is_refused_when_the_cache_is_down(settings: Settings) -> None:
    scope = {"type": "websocket", "path": "/api/v1/notifications/1", "headers": [], "query_string": b"", "state": {}}
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    async with started(settings, BrokenCache.memory()) as app:
        with pytest.raises(ConnectionError, match="the cache is down"):  # the server closes the connection for it
            await app(scope, receive, send)
    assert sent == [], "accepted, although no notification could come"


async def test_a_loader_that_fails_raises_its_own_error_for_every_caller(
    session: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("database is gone"))

    monkeypatch.setattr(users, "load_user_profile", failing)
    for read in (users.get_user_profile, users.get_user_profile_cached):
        with pytest.raises(OperationalError):
            await read(session, 1)  # type: ignore[arg-type]
