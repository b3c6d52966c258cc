"""Documents and their ingestion: found, kept, cut, indexed, found again."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator

import httpx
import pytest
from donjon import Cache
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database
from app.core.settings import Settings
from app.services import documents, ingestion, jobs
from app.services.ingestion import CHUNK, find_documents, import_documents, ingest_file, split
from app.services.worker import JobRunner
from conftest import ADMIN

TEXT = "A keep is the strongest tower of a castle, and the last to fall. " * 8


async def run_all_jobs(app: FastAPI, settings: Settings) -> None:
    runner = JobRunner(app.state.database, settings)
    while await runner._one():
        pass


async def test_a_document_is_kept_indexed_found_changed_and_deleted(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    created = await client.post("/api/v1/documents", json={"user_id": 1, "title": "Castles", "content": TEXT})
    assert created.status_code == 201
    path = f"/api/v1/documents/{created.json()['id']}"
    assert (await client.get(path)).json()["status"] == "waiting"
    assert (await client.get("/api/v1/search", params={"q": "keep"})).json() == []

    await run_all_jobs(app, settings)
    assert (await client.get(path)).json()["status"] == "indexed"
    (hit,) = (await client.get("/api/v1/search", params={"q": "KEEP tow"})).json()
    assert (hit["title"], hit["version"], hit["indexed_version"]) == ("Castles", 1, 1)
    assert "\x02keep\x03" in hit["snippet"]

    await client.put(path, json={"title": "Towers"})
    (hit,) = (await client.get("/api/v1/search", params={"q": "keep"})).json()
    assert (hit["title"], hit["version"], hit["indexed_version"]) == ("Towers", 2, 1)

    await client.put(path, json={"content": "Now it is about gardens."})
    await run_all_jobs(app, settings)
    assert (await client.get("/api/v1/search", params={"q": "keep"})).json() == []
    assert len((await client.get("/api/v1/search", params={"q": "garden"})).json()) == 1

    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/api/v1/search", params={"q": "garden"})).json() == []
    assert (await client.delete(path)).status_code == 404


async def test_that_there_is_no_such_document_is_forgotten_when_there_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/documents/1")).status_code == 404
    await client.post("/api/v1/documents", json={"user_id": 1, "title": "t", "content": "text"})
    assert (await client.get("/api/v1/documents/1")).status_code == 200


async def test_search_is_narrowed_to_a_user_and_takes_whatever_is_typed(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    for user in (1, 2):
        await client.post("/api/v1/documents", json={"user_id": user, "title": f"of {user}", "content": TEXT})
    await run_all_jobs(app, settings)
    assert len((await client.get("/api/v1/search", params={"q": "castle"})).json()) == 2
    (mine,) = (await client.get("/api/v1/search", params={"q": "castle", "user_id": 2})).json()
    assert mine["title"] == "of 2"
    for typed in ('"', "keep AND", "NEAR(", "text:keep*", "-", "", "\x00", "'; --", "ключ", "a" * 200):
        assert (await client.get("/api/v1/search", params={"q": typed})).status_code == 200, typed


async def test_a_job_goes_from_queued_over_running_to_completed(session: AsyncSession) -> None:
    job_id = (await jobs.enqueue(session, "ingest", 1)).id
    await session.commit()
    assert [found["status"] for found in await jobs.list_jobs(session)] == ["queued"]
    claimed = await jobs.claim(session)
    assert claimed is not None
    assert claimed["id"] == job_id
    assert [found["status"] for found in await jobs.list_jobs(session)] == ["running"]
    assert await jobs.claim(session) is None
    await jobs.finish(session, job_id, "completed")
    assert [found["status"] for found in await jobs.list_jobs(session)] == ["completed"]


async def test_the_job_that_waits_longest_is_taken_first(session: AsyncSession) -> None:
    for number in (1, 2, 3):
        await jobs.enqueue(session, "ingest", number)
    await session.commit()
    taken = [await jobs.claim(session) for _ in range(3)]
    assert [job and job["document_id"] for job in taken] == [1, 2, 3]


async def test_the_id_of_a_deleted_document_is_given_to_no_other(client: httpx.AsyncClient) -> None:
    new = {"user_id": 1, "title": "t", "content": "text"}
    first = (await client.post("/api/v1/documents", json=new)).json()["id"]
    await client.delete(f"/api/v1/documents/{first}")
    assert (await client.post("/api/v1/documents", json=new)).json()["id"] > first


async def test_a_job_whose_file_holds_no_text_fails_and_says_so(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    await client.post("/api/v1/documents", json={"user_id": 1, "title": "Blank", "content": " \n\n "})
    await run_all_jobs(app, settings)
    (job,) = (await client.get("/api/v1/jobs")).json()
    assert (job["status"], job["error"]) == ("failed", "ValueError: document 1 holds no text")
    assert (await client.get("/api/v1/documents/1")).json()["status"] == "failed"
    assert (await client.get("/api/v1/stats")).json()["jobs"]["failed"] == 1


async def test_a_job_that_a_dead_worker_had_is_queued_again(session: AsyncSession) -> None:
    await jobs.enqueue(session, "ingest", 1)
    await session.commit()
    await jobs.claim(session)
    await jobs.requeue_stalled(session, "2000-01-01")
    assert [found["status"] for found in await jobs.list_jobs(session)] == ["running"]
    await jobs.requeue_stalled(session, "9999-01-01")
    assert [found["status"] for found in await jobs.list_jobs(session)] == ["queued"]


async def test_a_worker_that_is_stopped_gives_its_job_back(
    app: FastAPI, database: Database, settings: Settings, cache: Cache
) -> None:
    async with database.session() as session:
        await documents.create_document(session, user_id=1, title="t", content="text")
    working = settings.model_copy(update={"job_workers": 1})
    # The worker waits for the lock, which is held here.
    async with cache.lock("ingestion:file:1", ttl=300), JobRunner(database, working), database.session() as session:
        while [job["status"] for job in await jobs.load_jobs(session, 5)] != ["running"]:
            pass
    async with database.session() as session:
        assert [job["status"] for job in await jobs.load_jobs(session, 5)] == ["queued"]


async def test_a_document_that_changes_while_it_is_read_is_read_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.session() as session:
        await documents.create_document(session, user_id=1, title="t", content="old words")
    reading, go_on = threading.Event(), threading.Event()

    def slow(whole: str) -> Iterator[str]:
        if whole == "old words":
            reading.set()
            assert go_on.wait(30)
        return split(whole)

    monkeypatch.setattr(ingestion, "split", slow)
    ingesting = asyncio.create_task(ingest_file(database, 1))
    assert await asyncio.to_thread(reading.wait, 30)
    async with database.session() as session:
        await documents.update_document(session, 1, content="new words")
    go_on.set()
    await ingesting
    async with database.session() as session:
        assert (await session.scalars(text("SELECT text FROM chunks"))).all() == ["new words"]
        document = await documents.get_document(session, 1)
        assert document is not None
        assert (document["status"], document["indexed_version"]) == ("indexed", 2)


async def test_an_import_keeps_texts_once_and_only_what_changed_is_indexed_again(
    database: Database, settings: Settings
) -> None:
    assert settings.docs is not None
    folder = settings.docs
    (folder / "inner").mkdir()
    (folder / ".hidden").mkdir()
    for name in ("a.md", "inner/b.rst", "c.txt", ".hidden/d.md", "e.py"):
        (folder / name).write_text(f"{name} {TEXT}")
    (folder / "copy.md").write_text((folder / "a.md").read_text())
    (folder / "tiny.md").write_text("tiny")
    (folder / "binary.txt").write_bytes(b"\0" * 500)
    (folder / "latin.txt").write_bytes(TEXT.encode() + b"\xe9")

    assert await import_documents(database, folder) == 4
    assert await import_documents(database, folder) == 0
    (folder / "c.txt").write_text(f"new {TEXT}")
    assert await import_documents(database, folder) == 1
    async with database.session() as session:
        found = {document["title"]: document["version"] for document in await documents.list_documents(session)}
    assert found == {"a.md": 1, "inner/b.rst": 1, "c.txt": 2, "latin.txt": 1}


def test_without_a_folder_the_projects_texts_and_the_packages_docs_are_found() -> None:
    found = list(find_documents(None))
    titles = {file.title for file in found}
    assert "donjon: README.md" in titles
    assert any(title.lower() == "fastapi" for title in titles)
    assert {file.owner for file in found} == {ingestion.PROJECT_OWNER, ingestion.PACKAGE_OWNER}
    assert not any("/target/" in str(file.path) for file in found)


@pytest.mark.parametrize(
    "whole", ["", "one", "a\n\nb", "word " * 2_000, "x" * 5_000, f"{'p ' * 400}\n\n" * 5, "\n\n\n", "é" * 3_000]
)
def test_cutting_loses_no_word_and_keeps_every_piece_short(whole: str) -> None:
    pieces = list(split(whole))
    assert all(0 < len(piece) <= CHUNK + 2 for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(whole.split())


async def test_the_index_is_in_step_with_the_chunks(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    for number in range(3):
        new = {"user_id": 1, "title": "t", "content": f"{TEXT}{number}"}
        await client.post("/api/v1/documents", json=new)
    await run_all_jobs(app, settings)
    await client.put("/api/v1/documents/2", json={"content": "other"})
    await run_all_jobs(app, settings)
    await client.delete("/api/v1/documents/3")
    with sqlite3.connect(settings.database) as other:
        other.execute("INSERT INTO chunks_fts(chunks_fts, rank) VALUES ('integrity-check', 1)")
        assert other.execute("SELECT count(*) FROM chunks").fetchone() == (2,)


async def test_an_import_can_be_asked_for_by_the_admin(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings
) -> None:
    assert settings.docs is not None
    (settings.docs / "a.md").write_text(TEXT)
    assert (await client.post("/api/v1/admin/documents/import", headers=ADMIN)).json() == {"job_id": 1}
    await run_all_jobs(app, settings)
    assert (await client.get("/api/v1/stats")).json()["files"]["indexed"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/v1/documents", {"user_id": 99, "title": "t", "content": "c"}, 422),
        ("POST", "/api/v1/documents", {"user_id": 1, "title": "", "content": "c"}, 422),
        ("PUT", "/api/v1/documents/99", {"title": "t"}, 404),
        ("POST", "/api/v1/users", {"name": "Twin", "email": "keeper@example.org"}, 409),
        ("PATCH", "/api/v1/users/1", {"email": "librarian@example.org"}, 409),
        ("PATCH", "/api/v1/users/99", {"name": "x"}, 404),
        ("GET", "/api/v1/users/99", None, 404),
        ("GET", "/api/v1/documents/nine", None, 422),
        ("GET", "/api/v1/documents/99999999999999999999", None, 422),
    ],
)
async def test_what_cannot_be_done_is_said_and_leaves_the_session_usable(
    client: httpx.AsyncClient, method: str, path: str, body: object, status: int
) -> None:
    assert (await client.request(method, path, json=body)).status_code == status
    assert (await client.get("/api/v1/users")).status_code == 200


async def test_the_start_page_is_served_and_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert "Documents, cached by donjon" in page
    assert "http://" not in page
    assert "https://" not in page
