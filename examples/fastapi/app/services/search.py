"""Full-text search over the chunks. Results are cached for five minutes, or until any document changes."""

import re
from datetime import timedelta

from donjon import key
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache
from app.core.database import all_as

MARK = ("\x02", "\x03")  # around what matched: no text holds these, so a page can mark it after escaping the rest


class SearchResult(TypedDict):
    document_id: int
    title: str
    position: int
    snippet: str
    version: int
    indexed_version: int


_QUERY = text(
    "SELECT d.id AS document_id, d.title, c.position, d.version, d.indexed_version,"
    " snippet(chunks_fts, 0, :start, :stop, '…', 24) AS snippet"
    " FROM chunks_fts JOIN chunks c ON c.id = chunks_fts.rowid JOIN documents d ON d.id = c.document_id"
    " WHERE chunks_fts MATCH :words AND (:user_id IS NULL OR d.user_id = :user_id)"
    " ORDER BY bm25(chunks_fts), c.id LIMIT :limit"
)


async def search(session: AsyncSession, query: str, user_id: int | None = None, limit: int = 10) -> list[SearchResult]:
    """The best chunks in which every word of `query` occurs; of the last word its beginning is enough."""
    words = match_expression(query)
    if not words:
        return []
    scope = "all" if user_id is None else user_id
    results: list[SearchResult] = await get_cache().get_or_set(
        key("search", scope, limit, words),
        lambda: run_search(session, words, user_id, limit),
        ttl=timedelta(minutes=5),
        tags=["search"],
    )
    return results


async def run_search(session: AsyncSession, words: str, user_id: int | None, limit: int) -> list[SearchResult]:
    if not words:
        return []
    parameters = {"words": words, "user_id": user_id, "limit": limit, "start": MARK[0], "stop": MARK[1]}
    return await all_as(SearchResult, session, _QUERY, parameters)


def match_expression(query: str) -> str:
    """What the user typed as an FTS5 expression: words only, each quoted, so that no operator gets through."""
    words = [f'"{word}"' for word in re.findall(r"\w+", query.casefold())[:16]]
    return " ".join(words) + "*" if words else ""
