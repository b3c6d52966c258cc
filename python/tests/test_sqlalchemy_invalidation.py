"""Invalidation that follows commits: sessions with and without asyncio, on SQLite files that several sessions share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from donjon import Cache, ConfigError, InvalidRule, InvalidTemplate
from donjon.testing import ManualClock
from redis_server import RedisServer

pytest.importorskip("sqlalchemy")
from sqlalchemy import ForeignKey, create_engine, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from donjon.sqlalchemy import Invalidation


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class File(Base):
    __tablename__ = "files"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "file"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))
    title: Mapped[str] = mapped_column(default="")
    kind: Mapped[str] = mapped_column(default="file")


class Picture(File):
    __mapper_args__ = {"polymorphic_identity": "picture"}  # noqa: RUF012


KEYS = ["owner:1", "owner:2", "file:1", "file:2", "files:of:1", "files:of:2", "files:list:0", "other"]


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "files.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Owner(id=1, name="Ada"), Owner(id=2, name="Bob"), File(id=1, owner_id=1)])
        session.commit()
    engine.dispose()
    return str(path)


@pytest.fixture
def invalidation(cache: Cache) -> Invalidation:
    invalidation = Invalidation(cache)
    invalidation.on(Owner, keys=["owner:{id}"])
    invalidation.on(File, keys=["file:{id}", "files:of:{owner_id}"], patterns=["files:list:*"])
    return invalidation


@pytest.fixture
async def sessions(database: str, invalidation: Invalidation) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    invalidation.listen(sessions)
    yield sessions
    await engine.dispose()


@pytest.fixture
def blocking(database: str, invalidation: Invalidation) -> Iterator[sessionmaker[Session]]:
    engine = create_engine(f"sqlite:///{database}")
    sessions = sessionmaker(engine)
    invalidation.listen(sessions)
    yield sessions
    engine.dispose()


@pytest.fixture
async def full(cache: Cache) -> Any:
    """A cache that holds something under every key; gives which of them are gone."""
    await cache.set_many(dict.fromkeys(KEYS, True))

    async def gone() -> set[str]:
        return set(KEYS) - set(await cache.get_many(KEYS))

    return gone


Sessions = async_sessionmaker[AsyncSession]


async def test_what_changed_is_invalidated_once_it_is_committed_and_not_before(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        owner = await session.get_one(Owner, 1)
        owner.name = "Ada Lovelace"
        await session.flush()
        assert await full() == set()
        await session.commit()
        assert await full() == {"owner:1"}


async def test_new_and_deleted_rows_invalidate_as_changed_ones_do(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        session.add(File(owner_id=2))
        await session.commit()
        assert await full() == {"file:2", "files:of:2", "files:list:0"}
        await session.delete(await session.get_one(File, 1))
        await session.commit()
        assert await full() == {"file:1", "file:2", "files:of:1", "files:of:2", "files:list:0"}


async def test_a_row_that_moves_invalidates_by_what_it_was_and_by_what_it_is(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        file = await session.get_one(File, 1)
        file.owner_id = 2
        await session.commit()
    assert await full() == {"file:1", "files:of:1", "files:of:2", "files:list:0"}


async def test_what_is_assigned_unread_invalidates_whatever_it_may_have_been(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        file = await session.get_one(File, 1)
        session.expire(file, ["owner_id"])
        file.owner_id = 2
        await session.commit()
    assert await full() >= {"file:1", "files:of:1", "files:of:2"}


async def test_what_the_database_computes_is_not_known_and_stands_for_any_value(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        file = await session.get_one(File, 1)
        file.owner_id = File.id + 1
        await session.commit()
    assert await full() >= {"file:1", "files:of:1", "files:of:2"}


async def test_a_class_derived_from_the_model_counts_as_it(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        session.add(Picture(id=2, owner_id=1))
        await session.commit()
    assert await full() == {"file:2", "files:of:1", "files:list:0"}


async def test_what_is_rolled_back_invalidates_nothing(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "never"
        await session.flush()
        await session.rollback()
        (await session.get_one(Owner, 2)).name = "Bobby"
        await session.commit()
    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "never"
        await session.flush()
    assert await full() == {"owner:2"}


async def test_what_did_not_change_invalidates_nothing(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        owner = await session.get_one(Owner, 1)
        owner.name = "Ada"
        await session.commit()
    assert await full() == set()


async def test_a_savepoint_that_is_rolled_back_takes_only_its_own_along(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "Ada L."
        async with session.begin_nested():
            session.add(File(id=2, owner_id=1))
        inner = await session.begin_nested()
        (await session.get_one(Owner, 2)).name = "never"
        await session.flush()
        await inner.rollback()
        assert await full() == set()
        await session.commit()
    assert await full() == {"owner:1", "file:2", "files:of:1", "files:list:0"}


async def test_a_savepoint_within_one_that_is_rolled_back_goes_with_it(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        outer = await session.begin_nested()
        async with session.begin_nested():
            (await session.get_one(Owner, 1)).name = "never"
        await outer.rollback()
        await session.commit()
    assert await full() == set()


async def test_a_statement_for_one_row_invalidates_that_row(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        await session.execute(update(Owner).where(Owner.id == 1, Owner.name != "x").values(name="Ada L."))
        assert await full() == set()
        await session.commit()
    assert await full() == {"owner:1"}


@pytest.mark.parametrize(
    "statement",
    [
        update(Owner).values(name=Owner.name + "!"),
        update(Owner).where(Owner.name == "Ada").values(name="A"),
        update(Owner).where((Owner.id == 1) | (Owner.name == "Bob")).values(name=Owner.name + "!"),
        update(Owner).where(Owner.id == 1).values(id=2 - Owner.id + 8),
        update(Owner.__table__).values(name=Owner.name + "!"),  # type: ignore[arg-type]
        delete(Owner).where(Owner.id.in_([1, 2])),
        insert(Owner).values(name="New"),
        insert(Owner).values([{"name": "New"}, {"name": "Newer"}]),
    ],
)
async def test_a_statement_for_many_rows_invalidates_whatever_row_it_may_be(
    sessions: Sessions, full: Any, statement: Any
) -> None:
    async with sessions() as session:
        await session.execute(statement)
        await session.commit()
    assert await full() == {"owner:1", "owner:2"}


async def test_a_statement_with_a_list_of_rows_invalidates_whatever_row_it_may_be(
    sessions: Sessions, full: Any
) -> None:
    async with sessions() as session:
        await session.execute(update(Owner), [{"id": 1, "name": "A"}, {"id": 2, "name": "B"}])
        await session.commit()
    assert await full() == {"owner:1", "owner:2"}


async def test_reading_invalidates_nothing(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        await session.scalars(select(Owner))
        await session.execute(text("SELECT 1"))
        await session.commit()
    assert await full() == set()


async def test_two_sessions_at_once_tell_each_its_own(sessions: Sessions, full: Any) -> None:
    async with sessions() as one, sessions() as other:
        (await one.get_one(Owner, 1)).name = "Ada L."
        (await other.get_one(Owner, 2)).name = "Bobby"
        await one.commit()
        assert await full() == {"owner:1"}
        await other.commit()
    assert await full() == {"owner:1", "owner:2"}


async def test_a_session_without_asyncio_tells_before_its_commit_returns(
    blocking: sessionmaker[Session], full: Any
) -> None:
    with blocking() as session:
        session.get_one(Owner, 1).name = "Ada L."
        session.flush()
        assert await full() == set()
        session.commit()
        assert await full() == {"owner:1"}


async def test_a_reader_between_write_and_commit_never_puts_the_old_value_back(
    sessions: Sessions, cache: Cache
) -> None:
    has_read, go_on = asyncio.Event(), asyncio.Event()

    async def load(wait: bool) -> str:
        async with sessions() as session:
            name = (await session.scalars(select(Owner.name).where(Owner.id == 1))).one()
        if wait:
            has_read.set()
            await go_on.wait()
        return name

    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "new"
        await session.flush()
        assert await cache.get_or_set("owner:1", lambda: load(False)) == "Ada"  # stored, then invalidated
        await cache.delete("owner:1")
        early = asyncio.create_task(cache.get_or_set("owner:1", lambda: load(True)))  # under way at the commit
        await has_read.wait()
        await session.commit()
    go_on.set()
    assert await early == "Ada"
    assert await cache.get_or_set("owner:1", lambda: load(False)) == "new"


async def test_a_commit_whose_caller_goes_away_tells_all_the_same(
    sessions: Sessions, cache: Cache, invalidation: Invalidation, full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling, go_on = asyncio.Event(), asyncio.Event()
    delete_many = cache.delete_many

    async def slow(keys: Any) -> Any:
        telling.set()
        await go_on.wait()
        return await delete_many(keys)

    monkeypatch.setattr(cache, "delete_many", slow)

    async def change() -> None:
        async with sessions() as session:
            (await session.get_one(Owner, 1)).name = "Ada L."
            await session.commit()

    request = asyncio.create_task(change())
    await telling.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    go_on.set()
    await asyncio.gather(*invalidation._sending)
    assert await full() == {"owner:1"}


async def test_a_commit_of_unknown_outcome_tells_all_the_same(
    sessions: Sessions, full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "Ada L."
        await session.flush()

        def lost(_: object) -> None:
            raise ConnectionResetError("the answer to COMMIT never came")

        event.listen(session.bind.sync_engine, "commit", lost)  # type: ignore[union-attr]
        with pytest.raises(ConnectionResetError):
            await session.commit()
    assert await full() == {"owner:1"}


async def test_a_failed_flush_leaves_the_cache_as_it_was(sessions: Sessions, full: Any) -> None:
    async with sessions() as session:
        session.add(Owner(id=3, name="Ada"))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()
        await session.commit()
    assert await full() == set()


async def test_tags_may_name_columns_where_the_rows_are_known(
    sessions: Sessions, cache: Cache, invalidation: Invalidation
) -> None:
    invalidation.on(File, tags=["owner:{owner_id}", "files"])
    await cache.set("a", 1, tags=["owner:1"])
    await cache.set("b", 1, tags=["owner:2"])
    await cache.set("c", 1, tags=["files"])
    async with sessions() as session:
        (await session.get_one(File, 1)).title = "new"
        await session.commit()
        assert await cache.get_many(["a", "b", "c"]) == {"b": 1}
        with pytest.raises(InvalidRule, match="names 'owner_id', which is not known"):
            await session.execute(update(File).values(title="x"))
        await session.commit()
        assert (await session.scalars(select(File.title))).all() == ["new"]


async def test_what_is_put_into_a_key_is_escaped(sessions: Sessions, cache: Cache, invalidation: Invalidation) -> None:
    invalidation.on(Owner, keys=["named:{name}"], patterns=["of:{name}:*"])
    await cache.set_many({"named:*": 1, "named:x": 1, "of:*:1": 1, "of:x:1": 1})
    async with sessions() as session:
        session.add(Owner(name="*"))
        await session.commit()
    assert await cache.get_many(["named:*", "named:x", "of:*:1", "of:x:1"]) == {"named:x": 1, "of:x:1": 1}


@pytest.mark.memory
async def test_a_broken_cache_fails_no_commit_and_is_told_of(
    sessions: Sessions, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.close()
    async with sessions() as session:
        (await session.get_one(Owner, 1)).name = "Ada L."
        await session.commit()
    assert "invalidation after a commit failed" in caplog.text


async def test_without_redis_a_commit_returns_after_its_patience_and_the_rest_is_queued(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer() as server:
        url = server.url
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    sessions = async_sessionmaker(engine)
    async with Cache.redis(url, connect_timeout=0.05) as cache:
        invalidation = Invalidation(lambda: cache, patience=0.0)
        invalidation.on(Owner, keys=["owner:{id}"])
        invalidation.listen(sessions)
        async with sessions() as session:
            (await session.get_one(Owner, 1)).name = "Ada L."
            await session.commit()
        assert cache.stats().queued == 1
    await engine.dispose()
    assert "wait for redis" in caplog.text


async def test_a_commit_that_waits_for_redis_returns_once_that_was_told(
    database: str, own_server: Callable[..., RedisServer]
) -> None:
    server = own_server()
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    sessions = async_sessionmaker(engine)
    async with Cache.redis(server.url) as cache:
        invalidation = Invalidation(cache, patience=100.0)
        invalidation.on(Owner, keys=["owner:{id}"], tags=["owners"])
        invalidation.listen(sessions)
        await cache.set("owner:1", "Ada")
        async with sessions() as session:
            (await session.get_one(Owner, 1)).name = "Ada L."
            server.pause()
            committing = asyncio.create_task(session.commit())
            while cache.stats().queued < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not committing.done()
            server.resume()
            await committing
        assert cache.stats().queued == 0
        assert await cache.get("owner:1") is None
    await engine.dispose()


async def test_sessions_that_nobody_listens_to_tell_nothing(sessions: Sessions, database: str, full: Any) -> None:
    engine = create_engine(f"sqlite:///{database}")
    with Session(engine) as session:
        session.get_one(Owner, 1).name = "Ada L."
        session.commit()
    engine.dispose()
    assert await full() == set()


# -- bad input


@pytest.mark.memory
@pytest.mark.parametrize(
    ("model", "rule", "error", "says"),
    [
        (Owner, {}, InvalidRule, "invalidates nothing"),
        (Owner, {"keys": ["owner:{nobody}"]}, InvalidRule, "'nobody', which is none of its columns"),
        (Owner, {"keys": ["owner:{"]}, InvalidTemplate, "owner"),
        (Owner, {"keys": "owner:{id}"}, TypeError, "a list of texts"),
        (int, {"keys": ["a"]}, InvalidRule, "mapped class"),
        ("Owner", {"keys": ["a"]}, InvalidRule, "mapped class"),
    ],
)
def test_a_wrong_rule_is_told_at_once(
    cache: Cache, model: Any, rule: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Invalidation(cache).on(model, **rule)


@pytest.mark.memory
def test_wrong_arguments_are_told_at_once(cache: Cache, clock: ManualClock) -> None:
    with pytest.raises(TypeError, match="takes a cache"):
        Invalidation("redis://")  # type: ignore[arg-type]
    for patience in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="patience"):
            Invalidation(cache, patience=patience)
    for sessions in (None, object(), int, "Session"):
        with pytest.raises(TypeError, match="sessionmaker or a subclass of Session"):
            Invalidation(cache).listen(sessions)
