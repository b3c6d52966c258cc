"""What happens after many resources were processed at once."""

from app.core.database import Database
from app.services.cache_warmer import warm_resource_caches


async def bulk_process_handler(database: Database) -> None:
    """The background has nothing left to do: put back what the next visitors will ask for."""
    async with database.session() as session:
        await warm_resource_caches(session, resource_type="document")
