"""The application that `bench.fastapi_route` asks, cached as `BENCH_KIND` says."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from donjon import Cache
from donjon.fastapi import CachedRoute, cached_response, lifespan

KIND, _, WHERE = os.environ["BENCH_KIND"].partition(" ")
REDIS = os.environ["BENCH_REDIS"]


class Base(DeclarativeBase):
    """The one table."""


class Row(Base):
    """A document in the database."""

    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    words: Mapped[int]


class Document(BaseModel):
    """A document in an answer."""

    id: int
    title: str
    words: int


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_FOLDER']}/{os.getpid()}.db")
sessions = async_sessionmaker(engine)


async def get_session() -> AsyncIterator[AsyncSession]:
    """One a request; it takes a connection when it is first used."""
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def load(session: Any) -> list[dict[str, Any]]:
    """What is cached, where functions are."""
    return [dict(row) for row in (await session.execute(select(Row.id, Row.title, Row.words))).mappings()]


if WHERE == "memory" or KIND in ("none", "cashews"):
    cache = Cache.memory()
else:
    cache = Cache.redis(REDIS, namespace=f"{KIND}-{WHERE}", near=WHERE == "near")


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Fills the database, and opens the cache."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        rows = [{"title": f"The title of number {number}", "words": number * 100} for number in range(20)]
        await connection.execute(insert(Row), rows)
    async with lifespan(app, cache):
        yield
    await engine.dispose()


app = FastAPI(lifespan=opened)
router = APIRouter(route_class=CachedRoute)

if KIND == "cashews":
    from cashews import cache as cashews

    cashews.setup(REDIS if WHERE == "redis" else WHERE)
    read = cashews(ttl="10m", key="documents")(load)
elif KIND == "function":
    read = cache.cached("documents", ttl="10m")(load)
else:
    read = load


async def documents(session: Session) -> list[Document]:
    """The route."""
    return await read(session)


router.get("/documents")(cached_response("10m")(documents) if KIND == "response" else documents)
app.include_router(router)
