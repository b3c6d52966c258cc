"""A running application for each test, with a cache of its own whose time is moved by hand."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from donjon import Cache
from donjon.testing import ManualClock
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database
from app.core.settings import Settings
from app.main import create_app
from server import Server, serving

TOKEN = "a token for the tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    docs = tmp_path / "docs"
    docs.mkdir()
    return Settings(database=tmp_path / "app.db", admin_token=TOKEN, docs=docs, job_workers=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> Cache:
    classes = {"default": "5m", "stats": "1m", "config": "1h", "user_data": "5m"}  # as the guide has them
    return Cache.memory(clock=clock, ttl_classes=classes)


@asynccontextmanager
async def started(settings: Settings, cache: Cache) -> AsyncIterator[FastAPI]:
    app = create_app(settings, cache)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


@pytest.fixture
async def app(settings: Settings, cache: Cache) -> AsyncIterator[FastAPI]:
    async with started(settings, cache) as app:
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
def database(app: FastAPI) -> Database:
    database: Database = app.state.database
    return database


@pytest.fixture
async def session(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session


@pytest.fixture(scope="session", autouse=True)
def _no_variables_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CACHE_", "APP_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real thing, in a process of its own."""
    with serving(tmp_path_factory.mktemp("server"), TOKEN) as server:
        yield server
