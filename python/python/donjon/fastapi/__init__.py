"""FastAPI (extra `donjon[fastapi]`): the cache in routes, and whole responses in the cache.

app = FastAPI(lifespan=lifespan)                    # opens the cache, and closes it
router = APIRouter(route_class=CachedRoute)

@router.get("/documents/{document_id}")
@cached_response("5m", tags=["document:{document_id}"])
async def get_document(document_id: int, cache: CacheDep) -> Document: ...
"""

from ._admin import admin_router, force_refresh
from ._responses import CachedRoute, cached_response
from ._state import CacheDep, current_cache, lifespan

__all__ = [
    "CacheDep",
    "CachedRoute",
    "admin_router",
    "cached_response",
    "current_cache",
    "force_refresh",
    "lifespan",
]
