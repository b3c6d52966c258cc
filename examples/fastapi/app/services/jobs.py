"""Jobs: the queue is a table, and each step of a job's life is committed."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache
from app.core.database import all_as, commit, one_as
from app.models import Job, now


class JobInfo(TypedDict):
    id: int
    kind: str
    document_id: int | None
    status: str
    error: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


_INFO = (
    Job.id,
    Job.kind,
    Job.document_id,
    Job.status,
    Job.error,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
)


async def enqueue(session: AsyncSession, kind: str, document_id: int | None = None) -> Job:
    """Add a job to what `session` commits next."""
    job = Job(kind=kind, document_id=document_id)
    session.add(job)
    await session.flush()
    return job


async def claim(session: AsyncSession) -> JobInfo | None:
    """Take the oldest queued job; None where there is none. Of two who ask at once only one gets it."""
    oldest = select(Job.id).where(Job.status == "queued").order_by(Job.id).limit(1).scalar_subquery()
    query = update(Job).where(Job.id == oldest).values(status="running", started_at=now()).returning(*_INFO)
    job = await one_as(JobInfo, session, query)
    if job is None:
        await session.rollback()
        return None
    await commit(session)
    return job


async def finish(session: AsyncSession, job_id: int, status: str, error: str | None = None) -> None:
    """Completed, failed, or queued again where the worker has to stop."""
    finished_at = None if status == "queued" else now()
    await session.execute(
        update(Job).where(Job.id == job_id).values(status=status, error=error, finished_at=finished_at)
    )
    await commit(session)


async def requeue_stalled(session: AsyncSession, started_before: str) -> None:
    """Put back what a worker that died had taken."""
    stalled = update(Job).where(Job.status == "running", Job.started_at < started_before).values(status="queued")
    await session.execute(stalled)
    await commit(session)


async def load_jobs(session: AsyncSession, limit: int) -> list[JobInfo]:
    return await all_as(JobInfo, session, select(*_INFO).order_by(Job.id.desc()).limit(limit))


async def list_jobs(session: AsyncSession, limit: int = 20) -> list[JobInfo]:
    """The newest first."""
    jobs: list[JobInfo] = await get_cache().get_or_set(
        f"jobs:list:{limit}", lambda: load_jobs(session, limit), ttl="stats"
    )
    return jobs
