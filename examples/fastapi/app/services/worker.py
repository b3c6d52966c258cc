"""The background: takes queued jobs one by one, and warms the cache when a run of them is done."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from donjon import BackendUnavailable, LockError

from app.core.database import Database
from app.core.settings import Settings
from app.handlers.bulk import bulk_process_handler
from app.services import ingestion, jobs

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5  # how soon a job queued by another process is seen; one's own are seen at once
STALLED_AFTER = timedelta(seconds=300)  # as long as the lock of an ingestion lasts
BULK = 10  # jobs in one run that make warming worth its queries


class JobRunner:
    """`async with` starts the workers, and on the way out stops them; what they were at is queued again."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._queued = asyncio.Event()
        self._busy = 0
        self._done = 0  # since the cache was last warmed
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "JobRunner":
        if self._settings.job_workers:
            self._tasks.append(asyncio.create_task(self._rescue(), name="jobs-rescue"))
        for number in range(self._settings.job_workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"jobs-{number}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Say that a job was queued."""
        self._queued.set()

    async def _work(self) -> None:
        while True:
            try:
                if not await self._one():
                    await self._rest()
            except Exception:
                logger.exception("a worker stumbled; it goes on in a moment")
                await asyncio.sleep(POLL_SECONDS)

    async def _one(self) -> bool:
        self._queued.clear()
        async with self._database.session() as session:
            job = await jobs.claim(session)
        if job is None:
            return False
        self._busy += 1
        try:
            await self._run(job)
        finally:
            self._busy -= 1
            self._done += 1
        return True

    async def _run(self, job: jobs.JobInfo) -> None:
        status, error = "completed", None
        try:
            if job["kind"] == "import":
                await ingestion.import_documents(self._database, self._settings.docs)
            elif job["document_id"] is not None:
                await ingestion.ingest_file(self._database, job["document_id"])
        except asyncio.CancelledError:
            status = "queued"
            raise
        except (BackendUnavailable, LockError) as problem:
            status = "queued"
            logger.warning("job %d is tried again, as it could not be locked to its end: %s", job["id"], problem)
            await asyncio.sleep(POLL_SECONDS)
        except Exception as problem:
            status, error = "failed", f"{type(problem).__name__}: {problem}"
            logger.warning("job %d failed: %s", job["id"], error)
        finally:
            async with self._database.session() as session:
                await jobs.finish(session, job["id"], status, error)

    async def _rest(self) -> None:
        if self._done >= BULK and not self._busy:
            self._done = 0
            await bulk_process_handler(self._database)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._queued.wait(), POLL_SECONDS)

    async def _rescue(self) -> None:
        while True:
            before = datetime.now(timezone.utc) - STALLED_AFTER
            try:
                async with self._database.session() as session:
                    await jobs.requeue_stalled(session, before.isoformat(timespec="milliseconds"))
            except Exception:
                logger.exception("could not look for stalled jobs; once more in a while")
            await asyncio.sleep(STALLED_AFTER.total_seconds() / 10)
