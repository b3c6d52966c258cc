"""Puts back what the next visitors will ask for, after a bulk change has swept it away."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache import get_cache
from app.services import documents, users
from app.services.stats_cache import StatsCache

NEWEST = 50


async def warm_resource_caches(session: AsyncSession, resource_type: str = "document") -> int:
    """Load what is missing, the way a visitor's request would. Says how many resources of this type were loaded."""
    return await _WARMERS[resource_type](session)


async def _warm_documents(session: AsyncSession) -> int:
    await documents.list_documents(session)
    await documents.get_summary(session)
    await StatsCache.warm(session=session)
    ids = {documents.document_key(number): number for number in await documents.newest_ids(session, NEWEST)}
    # One at a time, as a session answers one query at a time; the database is busy enough after a bulk change.
    report = await get_cache().warm(ids, lambda key: documents.load_document(session, ids[key]), concurrency=1)
    return report.loaded


async def _warm_users(session: AsyncSession) -> int:
    ids = {users.profile_key(session, user["id"]): user["id"] for user in await users.list_users(session)}
    report = await get_cache().warm(
        ids, lambda key: users.load_user_profile(session, ids[key]), concurrency=1, ttl="user_data"
    )
    return report.loaded


_WARMERS = {"document": _warm_documents, "user": _warm_users}
