"""The database: SQLite through SQLAlchemy's async engine, and how a change is committed.

Readers load single statements outside a transaction, so a load always reads what is committed when it begins. That is
what the cache's promise rests on: a load that begins after an invalidation must not look at an older snapshot.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy import Executable, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.models import Base

T = TypeVar("T")


class Database:
    """Owns the engine. `async with` creates the tables on the way in and closes every connection on the way out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=10, max_overflow=20)
        self.session = async_sessionmaker(self._engine, expire_on_commit=False)
        event.listen(self._engine.sync_engine, "connect", _prepare_connection)

    async def __aenter__(self) -> "Database":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql("BEGIN EXCLUSIVE")  # other workers start at the same time
            await connection.run_sync(Base.metadata.create_all)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._engine.dispose()


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """One session a request. It takes a connection when it is first used: an answer from the cache takes none."""
    database: Database = connection.app.state.database
    async with database.session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def all_as(
    kind: type[T], session: AsyncSession, query: Executable, parameters: dict[str, Any] | None = None
) -> list[T]:
    """The rows as dicts of that kind, which is what the columns of the query make them."""
    rows = (await session.execute(query, parameters)).mappings()
    return [cast("T", dict(row)) for row in rows]


async def one_as(kind: type[T], session: AsyncSession, query: Executable) -> T | None:
    """The one row as a dict of that kind; None where there is none."""
    row = (await session.execute(query)).mappings().one_or_none()
    return None if row is None else cast("T", dict(row))


async def commit(session: AsyncSession) -> None:
    """Commit, and so tell the cache, to the end, also where the caller is cancelled in the middle.

    A commit whose caller has gone may still reach the disk: the cache must not be told before it does.
    """
    work = asyncio.ensure_future(session.commit())
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])  # the session is the caller's: it must not be closed under a commit
        raise


def _prepare_connection(connection: Any, _record: object) -> None:
    # Run by SQLAlchemy for every new connection, through its own synchronous face of aiosqlite.
    cursor: sqlite3.Cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")  # readers never wait for the writer
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA busy_timeout = 30000")  # milliseconds that a writer waits for another
    cursor.close()
