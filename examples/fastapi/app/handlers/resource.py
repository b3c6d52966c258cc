"""What happens around a change of a resource: commit first, then invalidate.

The other way round, a reader that comes between the two would load the old row and keep it. Both happen even where the
request is cancelled between them.
"""

from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Announcement, commit_then
from app.services.cache_invalidation import on_resource_created, on_resource_deleted, on_resource_updated


async def handle_create_resource(
    resource_type: str, resource_id: int | str, session: AsyncSession, *also: Announcement
) -> None:
    """Commit what `session` holds, then invalidate what a new resource makes untrue. `also` runs after that."""
    await commit_then(session, partial(on_resource_created, resource_type, resource_id), *also)


async def handle_update_resource(
    resource_type: str, resource_id: int | str, session: AsyncSession, *also: Announcement
) -> None:
    await commit_then(session, partial(on_resource_updated, resource_type, resource_id), *also)


async def handle_delete_resource(
    resource_type: str, resource_id: int | str, session: AsyncSession, *also: Announcement
) -> None:
    await commit_then(session, partial(on_resource_deleted, resource_type, resource_id), *also)
