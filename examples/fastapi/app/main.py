"""The application: `uvicorn app.main:create_app --factory`, or `python demo.py` for everything at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from donjon import Cache
from fastapi import FastAPI

from app.core.cache import running_cache
from app.core.database import Database, commit
from app.core.settings import Settings
from app.routes import cache_admin, config, documents, jobs, notifications, pages, search, users
from app.services.cache_invalidation import follow_commits
from app.services.ingestion import ensure_demo_users
from app.services.jobs import enqueue
from app.services.worker import JobRunner


def create_app(settings: Settings | None = None, cache: Cache | None = None) -> FastAPI:
    """Make the application. What is not given comes from the environment."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_cache(app, cache) as opened, Database(settings.database) as database:
            follow_commits(opened, database.session)
            async with database.session() as session:
                await ensure_demo_users(session)
                if settings.ingest_on_start:
                    await enqueue(session, "import")
                    await commit(session)
            async with JobRunner(database, settings) as runner:
                app.state.database = database
                app.state.runner = runner
                yield

    app = FastAPI(title="Documents, cached by donjon", lifespan=lifespan)
    app.state.settings = settings

    app.include_router(pages.router)
    for router in (jobs.router, jobs.admin, documents.router, documents.admin, search.router, users.router):
        app.include_router(router, prefix="/api/v1")
    for router in (config.router, config.admin, cache_admin.router, notifications.router):
        app.include_router(router, prefix="/api/v1")
    app.include_router(cache_admin.router, include_in_schema=False)  # /admin/cache/stats, as short as people type it
    return app
