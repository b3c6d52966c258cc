"""The real server, driven over HTTP and WebSocket by many readers and writers at once, and held against SQL.

In one process with its cache in memory, and in four that share a Redis.

No answer may be older than the last change whose request had returned when the read began: not of statistics, users,
documents, configuration or search results. A canary shows that the check can fail.
"""

import asyncio
import itertools
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis_server import RedisServer
from websockets.asyncio.client import ClientConnection, connect

from conftest import ADMIN, TOKEN
from freshness import History
from server import Server, serving

SECONDS = 3.0  # at least; longer on a machine that has other things to do
PATIENCE = 60.0
READERS = 10


class Driver:
    """Readers and writers over one server, and the history they make."""

    def __init__(self, server: Server, client: httpx.AsyncClient, sql: sqlite3.Connection) -> None:
        self.history = History()
        self.client = client
        self.sql = sql
        self.random = random.Random(20261122)
        self.created = itertools.count(1)
        self.documents: list[int] = []

    async def run(self, enough: Callable[[], bool], *work: Callable[[], Awaitable[None]]) -> None:
        """Do all of `work` side by side, again and again, for at least `SECONDS` and until it is enough."""
        begun = time.monotonic()

        async def again(step: Callable[[], Awaitable[None]]) -> None:
            while (spent := time.monotonic() - begun) < PATIENCE and (spent < SECONDS or not enough()):
                await step()

        await asyncio.gather(*map(again, work))

    # -- asking
    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self.client.request(method, path, headers=ADMIN, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def in_sql(self, query: str, *parameters: object) -> Any:
        return self.sql.execute(query, parameters).fetchone()[0]

    # -- writers: each notes the version that its request confirmed, and that SQL has it
    async def change_user(self) -> None:
        user = self.random.choice([1, 2])
        answer = await self.ask("PATCH", f"/api/v1/users/{user}", json={"about": str(self.random.random())})
        self.history.changed(f"user {user}", answer["version"])
        assert self.in_sql("SELECT version FROM users WHERE id = ?", user) >= answer["version"]

    async def change_config(self) -> None:
        key = self.random.choice(["theme", "limit"])
        answer = await self.ask("PUT", f"/api/v1/admin/config/{key}", json={"value": self.random.random()})
        self.history.changed(f"config {key}", answer["version"])
        assert self.in_sql("SELECT version FROM app_config WHERE key = ?", key) >= answer["version"]

    async def change_title(self) -> None:
        number = self.random.choice(self.documents[:5])
        answer = await self.ask("PUT", f"/api/v1/documents/{number}", json={"title": str(self.random.random())})
        self.history.changed(f"document {number}", answer["version"])
        assert self.in_sql("SELECT version FROM documents WHERE id = ?", number) >= answer["version"]

    async def change_content(self) -> None:
        number = self.random.choice(self.documents[:5])
        content = f"word{number} again, {self.random.random()}"
        answer = await self.ask("PUT", f"/api/v1/documents/{number}", json={"content": content})
        self.history.changed(f"document {number}", answer["version"])
        await asyncio.sleep(0.05)

    async def create_document(self) -> None:
        count = next(self.created)
        new = {"user_id": 1 + count % 2, "title": f"Document {count}", "content": f"number{count} of many"}
        answer = await self.ask("POST", "/api/v1/documents", json=new)
        self.documents.append(answer["id"])
        self.history.changed("documents", len(self.documents))
        self.history.changed("jobs", len(self.documents))
        await asyncio.sleep(0.05)

    async def delete_document(self) -> None:
        count = next(self.created)
        new = {"user_id": 1, "title": "For a moment", "content": f"fleeting{count}"}
        number = (await self.ask("POST", "/api/v1/documents", json=new))["id"]
        await self.ask("GET", f"/api/v1/documents/{number}")
        await self.ask("DELETE", f"/api/v1/documents/{number}")
        for _ in range(3):
            begun = time.monotonic()
            gone = (await self.client.get(f"/api/v1/documents/{number}")).status_code == 404
            listed = [found["id"] for found in await self.ask("GET", "/api/v1/documents")]
            assert gone, "a deleted document was answered"
            assert number not in listed, "a deleted document was listed"
            assert await self.ask("GET", "/api/v1/search", params={"q": f"fleeting{count}"}) == []
            self.history.read("gone", begun, 1)
        await asyncio.sleep(0.05)

    # -- readers: each notes the version that it was shown, and that SQL has got that far
    async def read(self) -> None:
        await self.random.choice(
            [
                self.read_user,
                self.read_users,
                self.read_config,
                self.read_document,
                self.read_list,
                self.find,
                self.read_job_stats,
                self.read_file_stats,
                self.read_summary,
            ]
        )()

    def saw(self, subject: str, begun: float, version: float, query: str, *parameters: object) -> None:
        self.history.read(subject, begun, version)
        assert version <= self.in_sql(query, *parameters), f"{subject}: answered what was never committed"

    async def read_user(self) -> None:
        user, begun = self.random.choice([1, 2]), time.monotonic()
        answer = await self.ask("GET", f"/api/v1/users/{user}")
        self.saw(f"user {user}", begun, answer["version"], "SELECT version FROM users WHERE id = ?", user)

    async def read_users(self) -> None:
        begun = time.monotonic()
        for user in await self.ask("GET", "/api/v1/users"):
            self.saw(f"user {user['id']}", begun, user["version"], "SELECT version FROM users WHERE id = ?", user["id"])

    async def read_config(self) -> None:
        begun = time.monotonic()
        for key, entry in (await self.ask("GET", "/api/v1/config")).items():
            query = "SELECT version FROM app_config WHERE key = ?"
            self.saw(f"config {key}", begun, entry["version"], query, key)

    async def read_document(self) -> None:
        number, begun = self.random.choice(self.documents[:5]), time.monotonic()
        self.saw_document(begun, await self.ask("GET", f"/api/v1/documents/{number}"))

    async def read_list(self) -> None:
        begun = time.monotonic()
        for document in await self.ask("GET", "/api/v1/documents", params={"user_id": 1, "limit": 100}):
            self.saw_document(begun, document)

    async def find(self) -> None:
        number, begun = self.random.choice(self.documents[:5]), time.monotonic()
        for hit in await self.ask("GET", "/api/v1/search", params={"q": f"word{number}"}):
            self.saw_document(begun, hit | {"id": hit["document_id"]})

    def saw_document(self, begun: float, document: dict[str, Any]) -> None:
        number = document["id"]
        query = "SELECT {} FROM documents WHERE id = ? UNION ALL SELECT 1e9 LIMIT 1"  # it may be deleted by now
        self.saw(f"document {number}", begun, document["version"], query.format("version"), number)
        self.saw(f"index of {number}", begun, document["indexed_version"], query.format("indexed_version"), number)

    async def read_job_stats(self) -> None:
        begun = time.monotonic()
        path = "/api/v1/admin/jobs/status"
        if self.random.random() < 0.1:
            forced = await self.client.request("GET", path, headers=ADMIN, params={"force_refresh": True})
            if forced.status_code == 429:  # another's was granted within the second
                return
            answer = forced.json()
        else:
            answer = await self.ask("GET", path)
        self.saw("jobs", begun, answer["data"]["total"], "SELECT count(*) FROM jobs")

    async def read_file_stats(self) -> None:
        begun = time.monotonic()
        answer = await self.ask("GET", "/api/v1/admin/files/status")
        self.history.read("documents", begun, answer["data"]["total"])

    async def read_summary(self) -> None:
        begun = time.monotonic()
        self.history.read("documents", begun, (await self.ask("GET", "/api/v1/documents/summary"))["documents"])

    # -- the WebSocket: what it says has been indexed, search must find
    async def listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "document.indexed":
                self.history.changed(f"index of {message['document_id']}", message["version"])

    async def quiet(self) -> None:
        """Wait until the background has nothing left to do, by what SQL says and then by what the last job announced."""
        end = time.monotonic() + 60
        while self.in_sql("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')") or await self.busy():
            assert time.monotonic() < end, "jobs are left over"
            await asyncio.sleep(0.05)

    async def busy(self) -> bool:
        jobs = (await self.ask("GET", "/api/v1/stats"))["jobs"]
        return bool(jobs["queued"] or jobs["running"])


@asynccontextmanager
async def driving(server: Server) -> AsyncIterator[Driver]:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
        with closing(sqlite3.connect(server.database)) as sql:
            yield Driver(server, client, sql)


async def test_no_answer_is_older_than_the_last_change_that_had_returned(tmp_path: Path) -> None:
    with serving(tmp_path, TOKEN) as server:
        await exercise(server)


@pytest.mark.parametrize("restarts", [False, True], ids=["undisturbed", "through a restart of Redis"])
async def test_nor_is_one_of_four_workers_that_share_a_redis(tmp_path: Path, restarts: bool) -> None:
    with RedisServer() as redis:
        cache = {"CACHE_BACKEND": "redis", "CACHE_REDIS_URL": redis.url}
        with serving(tmp_path, TOKEN, workers=4, cache=cache) as server:
            if not restarts:
                await exercise(server)
                return
            disturbance = asyncio.create_task(restarted(redis))
            await exercise(server)
            await disturbance


async def restarted(redis: RedisServer) -> None:
    """A second without Redis, in the middle."""
    await asyncio.sleep(SECONDS / 3)
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(SECONDS / 3)
    await asyncio.to_thread(redis.restart)


async def exercise(server: Server) -> None:
    """Drive it, and hold every answer against what had returned before it was asked for."""
    async with driving(server) as driver:
        for _ in range(5):
            await driver.create_document()
        async with (
            connect(f"{server.ws}/api/v1/notifications/1") as first,
            connect(f"{server.ws}/api/v1/notifications/2") as second,
        ):
            listening = [asyncio.create_task(driver.listen(socket)) for socket in (first, second)]
            await driver.run(
                lambda: len(driver.history.reads) >= 2_000 and driver.history.races() >= 100,
                driver.change_user,
                driver.change_config,
                driver.change_title,
                driver.change_content,
                driver.create_document,
                driver.delete_document,
                *[driver.read] * READERS,
            )
            await driver.quiet()
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

        history = driver.history
        assert [str(stale) for stale in history.stale()] == []

        # A run that tried too little proves nothing.
        stats = await driver.ask("GET", "/admin/cache/stats")
        said = f"{len(history.reads)} reads, {history.changes} changes, {history.races()} races, {stats}"
        print(said)
        assert len(history.reads) >= 2_000, said
        assert history.changes >= 100, said
        assert history.races() >= 100, said
        assert stats["hit_rate"] > 0.05, said
        for kind in ("user", "config", "document ", "documents", "jobs", "index", "gone"):
            assert any(read.subject.startswith(kind) for read in history.reads), f"no read of {kind}: {said}"

        # One answer that is one version too old would have been noticed, whatever it is about.
        for subject in {read.subject for read in history.reads if history.known(read) >= 1}:
            last = max((read for read in history.reads if read.subject == subject), key=lambda read: read.begun)
            too_old = replace(last, version=history.known(last) - 1)
            assert [stale.read for stale in history.stale([too_old])] == [too_old]

        await check_against_sql(driver)


async def check_against_sql(driver: Driver) -> None:
    """When all is quiet, every answer is what SQL says."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return driver.sql.execute(query).fetchall()

    jobs = (await driver.ask("GET", "/api/v1/admin/jobs/status"))["data"]
    assert dict(rows("SELECT status, count(*) FROM jobs GROUP BY status")) == {
        status: jobs[status] for status in ("queued", "running", "completed", "failed") if jobs[status]
    }
    for user_id in (1, 2):
        files = (await driver.ask("GET", f"/api/v1/admin/files/status?user_id={user_id}"))["data"]
        query = f"SELECT count(*), sum(bytes), sum(chunk_count) FROM documents WHERE user_id = {user_id}"
        assert rows(query) == [(files["total"], files["bytes"], files["chunks"])]
    users = await driver.ask("GET", "/api/v1/users")
    assert rows("SELECT id, about, version FROM users ORDER BY id") == [
        (user["id"], user["about"], user["version"]) for user in users
    ]
    config = await driver.ask("GET", "/api/v1/config")
    assert rows("SELECT key, version FROM app_config ORDER BY key") == [
        (key, entry["version"]) for key, entry in config.items()
    ]
    for number, title, content, version in rows("SELECT id, title, content, version FROM documents LIMIT 20"):
        document = await driver.ask("GET", f"/api/v1/documents/{number}")
        assert (document["title"], document["content"], document["version"]) == (title, content, version)
        assert document["indexed_version"] <= version
    for number in driver.documents[:5]:
        hits = await driver.ask("GET", "/api/v1/search", params={"q": f"word{number}"})
        changed = f"id = {number} AND content LIKE 'word{number} %'"  # not every run gets to all five
        query = f"SELECT title, version, indexed_version FROM documents WHERE {changed}"
        assert rows(query) == [(hit["title"], hit["version"], hit["indexed_version"]) for hit in hits]


@pytest.mark.parametrize(("form", "is_stale"), [("literal", True), ("safe", False)])
async def test_with_a_slow_database_the_guides_literal_form_serves_stale_profiles_and_this_one_does_not(
    tmp_path: Path, form: str, is_stale: bool
) -> None:
    with serving(tmp_path, TOKEN, f"racy_app:{form}") as server:
        async with driving(server) as driver:
            await driver.run(
                lambda: driver.history.races() >= 200,
                driver.change_user,
                driver.change_user,
                *[driver.read_user] * READERS,
            )
            stale = driver.history.stale()
            assert driver.history.races() >= 200
            assert bool(stale) is is_stale, f"{len(stale)} stale answers of {len(driver.history.reads)}"
