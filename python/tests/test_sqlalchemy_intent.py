"""A write intent: what a process that dies between commit and invalidation leaves behind, over a real Redis and SQLite file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loaders import PATIENT

from donjon import Cache, ConfigError
from redis_server import RedisServer

pytest.importorskip("sqlalchemy")
from sqlalchemy import create_engine, event, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from donjon.sqlalchemy import Invalidation


class Base(DeclarativeBase): ...


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


WRITER = """
import os, signal, sys
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, sessionmaker
from donjon import Cache
from donjon.sqlalchemy import Invalidation
from test_sqlalchemy_intent import User

redis, namespace, database, seconds, dies = sys.argv[1:]
sessions = sessionmaker(create_engine(database))


def pause(session):
    print("about to commit", flush=True)
    sys.stdin.readline()


def die(session):
    os.kill(os.getpid(), signal.SIGKILL)


cache = Cache.redis(redis, namespace=namespace, connect_timeout=5, command_timeout=5)
if dies == "after":
    event.listen(sessions, "after_commit", die)
invalidation = Invalidation(cache, write_intent=float(seconds) if seconds else None)
invalidation.on(User, keys=["user:{id}"])
invalidation.listen(sessions)
event.listen(sessions, "before_commit", pause)
if dies == "before":
    event.listen(sessions, "before_commit", die)
with sessions() as session:
    session.get_one(User, 1).name = "new"
    session.commit()
"""


class Writer:
    """Another process, which changes the row, and stops before it commits until it is let on."""

    def __init__(self, cache: Cache, server: RedisServer, database: str, seconds: float | None, dies: str) -> None:
        words = [server.url, cache.namespace, database, "" if seconds is None else str(seconds), dies]
        path = [Path(__file__).parent, Path(__file__).parents[2] / "tests/redis/python", *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "about to commit\n"

    def go_on(self) -> int:
        """Lets it commit; gives how it ended."""
        self._process.communicate("\n", timeout=60)
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'users.db'}"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="old"))
        session.commit()
    engine.dispose()
    return url


@pytest.fixture
def cache(redis_server: RedisServer, namespace: str) -> Cache:
    return Cache.redis(redis_server.url, namespace=namespace, default_ttl="1h", **PATIENT)


@pytest.fixture
def write(cache: Cache, redis_server: RedisServer, database: str) -> Iterator[Callable[..., Writer]]:
    with contextlib.ExitStack() as stack:

        def write(seconds: float | None, dies: str = "never") -> Writer:
            writer = Writer(cache, redis_server, database, seconds, dies)
            stack.callback(writer.close)
            return writer

        yield write


def _read(cache: Cache, database: str) -> Any:
    def load() -> str | None:
        engine = create_engine(database)
        try:
            with Session(engine) as session:
                return session.scalar(select(User.name).where(User.id == 1))
        finally:
            engine.dispose()

    return cache.sync.get_or_set("user:1", load)


@pytest.mark.parametrize("reads_meanwhile", [False, True])
def test_without_it_a_process_that_dies_after_the_commit_leaves_the_old_value(
    cache: Cache, database: str, write: Callable[..., Writer], reads_meanwhile: bool
) -> None:
    assert _read(cache, database) == "old"
    writer = write(None, "after")
    if reads_meanwhile:
        assert _read(cache, database) == "old"
    assert writer.go_on() == -signal.SIGKILL
    assert _read(cache, database) == "old", "as it is in the cache for an hour"


@pytest.mark.parametrize("reads_meanwhile", [False, True])
def test_with_it_a_process_that_dies_after_the_commit_leaves_nothing_stale(
    cache: Cache, database: str, write: Callable[..., Writer], reads_meanwhile: bool
) -> None:
    assert _read(cache, database) == "old"
    writer = write(600.0, "after")
    if reads_meanwhile:
        assert _read(cache, database) == "old", "nothing is committed yet"
    assert writer.go_on() == -signal.SIGKILL
    assert _read(cache, database) == "new"
    assert not cache.sync.exists("user:1"), "what is loaded while the mark lasts is not stored"


def test_with_it_values_are_stored_again_once_the_time_of_the_dead_is_over(
    cache: Cache, database: str, write: Callable[..., Writer]
) -> None:
    assert write(0.05, "before").go_on() == -signal.SIGKILL
    for _ in range(1000):
        assert _read(cache, database) == "old"
        if cache.sync.exists("user:1"):
            return
    raise AssertionError("the mark outlasted its time")


def test_who_lives_on_invalidates_and_frees_the_key_at_once(
    cache: Cache, database: str, write: Callable[..., Writer]
) -> None:
    assert _read(cache, database) == "old"
    assert write(600.0).go_on() == 0
    assert _read(cache, database) == "new"
    assert cache.sync.get("user:1") == "new"


def test_a_commit_that_comes_to_nothing_frees_the_key_at_once(cache: Cache, database: str) -> None:
    engine = create_engine(database)
    sessions = sessionmaker(engine)
    invalidation = Invalidation(cache, write_intent=600.0)
    invalidation.on(User, keys=["user:{id}"])
    invalidation.listen(sessions)

    def refuse(session: Session) -> None:
        assert not cache.sync.exists("user:1"), "it is marked"
        cache.sync.get_or_set("user:1", lambda: "not to be stored")
        assert not cache.sync.exists("user:1")
        raise OSError("the database is gone")

    event.listen(sessions, "before_commit", refuse)
    assert _read(cache, database) == "old"
    with sessions() as session:
        session.get_one(User, 1).name = "new"
        session.flush()
        assert cache.sync.get("user:1") == "old", "there is no mark before the commit"
        with pytest.raises(OSError, match="gone"):
            session.commit()
    assert _read(cache, database) == "old"
    assert cache.sync.get("user:1") == "old"
    engine.dispose()


async def test_sessions_of_asyncio_mark_what_they_are_about_to_commit(cache: Cache, database: str) -> None:
    engine = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
    sessions = async_sessionmaker(engine)
    invalidation = Invalidation(cache, write_intent=600.0)
    invalidation.on(User, keys=["user:{id}"])
    invalidation.listen(sessions)
    seen = []

    def look(session: Session) -> None:
        if session.in_nested_transaction():
            return
        cache.sync.get_or_set("user:1", lambda: "not to be stored")
        seen.append(cache.sync.exists("user:1"))

    event.listen(sessions.kw["sync_session_class"], "before_commit", look)
    await cache.set("user:1", "old")
    async with sessions() as session:
        (await session.get_one(User, 1)).name = "new"
        async with session.begin_nested():
            (await session.get_one(User, 1)).name = "newer"
        assert await cache.get("user:1") == "old", "a savepoint marks nothing"
        await session.commit()
    assert seen == [False]
    assert await cache.get_or_set("user:1", lambda: "loaded") == await cache.get("user:1") == "loaded"
    await engine.dispose()


def test_without_redis_the_commit_goes_on(database: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = create_engine(database)
    sessions = sessionmaker(engine)
    with RedisServer() as server:
        url = server.url
    cache = Cache.redis(url)
    invalidation = Invalidation(cache, patience=0.0, write_intent=600.0)
    invalidation.on(User, keys=["user:{id}"])
    invalidation.listen(sessions)
    with sessions() as session:
        session.get_one(User, 1).name = "new"
        session.commit()
    assert _read(cache, database) == "new"
    assert "goes on without its write intent" in caplog.text
    assert cache.stats().queued == 1
    engine.dispose()


def test_where_redis_refuses_to_mark_a_key_the_commit_goes_on_and_the_log_says_so(
    cache: Cache, database: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(database)
    sessions = sessionmaker(engine)
    invalidation = Invalidation(cache, write_intent=600.0)
    invalidation.on(User, keys=["user:{id}"])
    invalidation.listen(sessions)
    with redis_server.client() as client:
        client.rpush(f"{cache.namespace}:user:1", "a list of somebody else's")
        with sessions() as session:
            session.get_one(User, 1).name = "new"
            session.commit()
        assert not client.exists(f"{cache.namespace}:user:1")
    assert "goes on without its write intent" in caplog.text
    assert _read(cache, database) == "new"
    engine.dispose()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 3601])
def test_its_time_has_to_be_one(cache: Cache, seconds: float) -> None:
    with pytest.raises(ConfigError, match="write_intent"):
        Invalidation(cache, write_intent=seconds)
