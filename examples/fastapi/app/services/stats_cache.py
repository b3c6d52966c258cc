"""Statistics, cached for a minute (`CACHE_TTL_STATS`) or until what they count changes."""

from donjon import key
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache
from app.core.database import all_as
from app.models import Document, Job


class JobStats(TypedDict):
    total: int
    queued: int
    running: int
    completed: int
    failed: int
    average_seconds: float | None


class FileStats(TypedDict):
    total: int
    waiting: int
    indexed: int
    failed: int
    bytes: int
    chunks: int


class StatsCache:
    """Job and file statistics. `force_refresh` counts anew, and what it counts is what others get from then on."""

    @staticmethod
    async def get_job_stats(session: AsyncSession, force_refresh: bool = False) -> JobStats:
        stats: JobStats = await get_cache().get_or_set(
            JOB_STATS, lambda: calculate_job_stats(session), ttl="stats", force_refresh=force_refresh
        )
        return stats

    @staticmethod
    async def get_file_stats(
        session: AsyncSession, user_id: int | None = None, force_refresh: bool = False
    ) -> FileStats:
        """The files of one user, or of all."""
        stats: FileStats = await get_cache().get_or_set(
            file_stats_key(user_id),
            lambda: calculate_file_stats(session, user_id),
            ttl="stats",
            force_refresh=force_refresh,
        )
        return stats

    @staticmethod
    async def invalidate_job_stats() -> None:
        await get_cache().delete(JOB_STATS)

    @staticmethod
    async def invalidate_file_stats(user_id: int | None = None) -> None:
        """The statistics of this user only, or every file statistic there is."""
        if user_id is None:
            await get_cache().invalidate_pattern("files:stats:*")
        else:
            await get_cache().delete(file_stats_key(user_id))

    @staticmethod
    async def invalidate_all_stats() -> None:
        await StatsCache.invalidate_job_stats()
        await StatsCache.invalidate_file_stats()


JOB_STATS = "jobs:stats"


def file_stats_key(user_id: int | None) -> str:
    return "files:stats:all" if user_id is None else key("files", "stats", "user", user_id)


async def calculate_job_stats(session: AsyncSession) -> JobStats:
    seconds = (func.julianday(Job.finished_at) - func.julianday(Job.started_at)) * 86_400
    query = select(
        func.count().label("total"),
        *(
            func.count().filter(Job.status == status).label(status)
            for status in ("queued", "running", "completed", "failed")
        ),
        func.avg(seconds).label("average_seconds"),
    ).select_from(Job)
    (stats,) = await all_as(JobStats, session, query)
    return stats


async def calculate_file_stats(session: AsyncSession, user_id: int | None = None) -> FileStats:
    query = select(
        func.count().label("total"),
        *(func.count().filter(Document.status == status).label(status) for status in ("waiting", "indexed", "failed")),
        func.coalesce(func.sum(Document.bytes), 0).label("bytes"),
        func.coalesce(func.sum(Document.chunk_count), 0).label("chunks"),
    ).select_from(Document)
    if user_id is not None:
        query = query.where(Document.user_id == user_id)
    (stats,) = await all_as(FileStats, session, query)
    return stats
