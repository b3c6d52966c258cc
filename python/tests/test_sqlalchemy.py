"""Instances mapped by SQLAlchemy: their loaded columns, and never a query."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from donjon import Cache, UnsupportedValue

pytest.importorskip("sqlalchemy")
from sqlalchemy import ForeignKey, create_engine, event
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    load_only,
    mapped_column,
    relationship,
)


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    full_name: Mapped[str] = mapped_column("name")
    born: Mapped[datetime.date]
    notes: Mapped[str] = mapped_column(default="", deferred=True)
    files: Mapped[list[File]] = relationship(back_populates="owner")


class File(Base):
    __tablename__ = "file"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))
    owner: Mapped[Owner] = relationship(back_populates="files")


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Point(DataBase):
    __tablename__ = "point"
    id: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[int] = mapped_column(default=0)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    DataBase.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Owner(id=1, full_name="Ada", born=datetime.date(1815, 12, 10), notes="n", files=[File(id=7)]))
        session.add(Point(id=1, x=2))
        session.commit()
        session.expunge_all()
        yield session
    engine.dispose()


@pytest.fixture
def no_queries(session: Session) -> Iterator[list[str]]:
    statements: list[str] = []
    assert session.bind is not None
    yield statements
    assert statements == []


ADA = {"id": 1, "full_name": "Ada", "born": "1815-12-10"}


def watch(session: Session, statements: list[str]) -> None:
    event.listen(session.bind, "before_cursor_execute", lambda *args: statements.append(args[2]))


async def test_an_instance_goes_in_as_its_loaded_columns(cache: Cache, session: Session, no_queries: list[str]) -> None:
    owner = session.get(Owner, 1)
    watch(session, no_queries)
    await cache.set("owner", {"found": [owner]})
    assert await cache.get("owner") == {"found": [ADA]}


async def test_relations_are_left_out_also_when_loaded(cache: Cache, session: Session, no_queries: list[str]) -> None:
    owner = session.get(Owner, 1)
    assert owner is not None
    assert owner.files
    watch(session, no_queries)
    await cache.set("owner", owner)
    assert await cache.get("owner") == ADA


async def test_what_was_not_loaded_is_left_out(cache: Cache, session: Session, no_queries: list[str]) -> None:
    owner = session.query(Owner).options(load_only(Owner.full_name)).one()
    watch(session, no_queries)
    await cache.set("owner", owner)
    assert await cache.get("owner") == {"id": 1, "full_name": "Ada"}


async def test_a_detached_instance_is_as_good(cache: Cache, session: Session) -> None:
    owner = session.get(Owner, 1)
    session.close()
    await cache.set("owner", owner)
    assert await cache.get("owner") == ADA


async def test_an_instance_expired_by_a_commit_is_refused_without_a_query(
    cache: Cache, session: Session, no_queries: list[str]
) -> None:
    owner = session.get(Owner, 1)
    session.commit()
    watch(session, no_queries)
    with pytest.raises(UnsupportedValue, match=r"Owner.*expire_on_commit"):
        await cache.set("owner", owner)


async def test_a_mapped_dataclass_is_read_the_same_way(cache: Cache, session: Session, no_queries: list[str]) -> None:
    point = session.get(Point, 1)
    session.expire(point, ["x"])
    watch(session, no_queries)
    await cache.set("point", point)
    assert await cache.get("point") == {"id": 1}


async def test_a_mapped_annotation_means_a_dict(cache: Cache, session: Session) -> None:
    @cache.cached("owner:{owner_id}")
    async def owner(owner_id: int) -> Owner | None:
        return session.get(Owner, owner_id)

    @cache.cached("owners")
    async def owners() -> list[Owner]:
        return session.query(Owner).all()

    for _ in range(2):
        assert await owner(1) == ADA
        assert await owner(2) is None
        assert await owners() == [ADA]


async def test_a_model_may_be_asked_for(cache: Cache, session: Session) -> None:
    pydantic = pytest.importorskip("pydantic")
    model: Any = pydantic.create_model("Owner", id=int, full_name=str, born=datetime.date)
    loaded = await cache.get_or_set("owner", lambda: session.get(Owner, 1), as_=model)
    assert loaded == model(id=1, full_name="Ada", born=datetime.date(1815, 12, 10))
    assert await cache.get("owner", as_=model) == loaded
