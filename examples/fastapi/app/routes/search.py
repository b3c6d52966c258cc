"""Full-text search."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.core.cache import or_directly
from app.core.database import SessionDep
from app.routes import Id
from app.services import search

router = APIRouter(prefix="/search", tags=["search"])


@router.get("")
async def find(
    session: SessionDep,
    q: Annotated[str, Query(max_length=200)],
    user_id: Id | None = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> list[search.SearchResult]:
    """The best passages that hold every word. What matched lies between the characters U+0002 and U+0003."""
    words = search.match_expression(q)
    return await or_directly(
        search.search(session, q, user_id, limit), lambda: search.run_search(session, words, user_id, limit)
    )
