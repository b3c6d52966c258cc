"""Documents: kept as they came, cut into chunks and indexed by a background job. Single ones and lists are cached."""

import hashlib
from typing import cast

from donjon import key
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache
from app.core.database import all_as, commit, one_as
from app.models import Document, now
from app.services.jobs import enqueue


class DocumentInfo(TypedDict):
    id: int
    user_id: int
    title: str
    path: str | None
    bytes: int
    status: str
    chunk_count: int
    version: int
    indexed_version: int
    created_at: str
    updated_at: str


class DocumentText(DocumentInfo):
    content: str


class Summary(TypedDict):
    documents: int
    largest: list[DocumentInfo]


_INFO = (
    Document.id,
    Document.user_id,
    Document.title,
    Document.path,
    Document.bytes,
    Document.status,
    Document.chunk_count,
    Document.version,
    Document.indexed_version,
    Document.created_at,
    Document.updated_at,
)


async def load_document(session: AsyncSession, document_id: int) -> DocumentText | None:
    query = select(*_INFO, Document.content).where(Document.id == document_id)
    return await one_as(DocumentText, session, query)


async def get_document(session: AsyncSession, document_id: int) -> DocumentText | None:
    document: DocumentText | None = await get_cache().get_or_set(
        document_key(document_id), lambda: load_document(session, document_id)
    )
    return document


async def load_list(session: AsyncSession, user_id: int | None, offset: int, limit: int) -> list[DocumentInfo]:
    query = select(*_INFO).order_by(Document.id.desc()).offset(offset).limit(limit)
    if user_id is not None:
        query = query.where(Document.user_id == user_id)
    return await all_as(DocumentInfo, session, query)


async def list_documents(
    session: AsyncSession, user_id: int | None = None, offset: int = 0, limit: int = 20
) -> list[DocumentInfo]:
    """The newest first."""
    owner = "all" if user_id is None else user_id
    name = key("documents", "list", owner, offset, limit)
    newest: list[DocumentInfo] = await get_cache().get_or_set(name, lambda: load_list(session, user_id, offset, limit))
    return newest


async def newest_ids(session: AsyncSession, limit: int) -> list[int]:
    return list(await session.scalars(select(Document.id).order_by(Document.id.desc()).limit(limit)))


async def load_summary(session: AsyncSession) -> Summary:
    count = await session.scalar(select(func.count()).select_from(Document))
    largest = await all_as(DocumentInfo, session, select(*_INFO).order_by(Document.bytes.desc()).limit(5))
    return Summary(documents=count or 0, largest=largest)


async def get_summary(session: AsyncSession) -> Summary:
    summary: Summary = await get_cache().get_or_set("documents:summary", lambda: load_summary(session))
    return summary


async def create_document(session: AsyncSession, *, user_id: int, title: str, content: str) -> DocumentInfo:
    """Raises IntegrityError where there is no such user."""
    document = Document(user_id=user_id, title=title, **measured(content))
    session.add(document)
    await session.flush()
    await enqueue(session, "ingest", document.id)
    info = cast("DocumentInfo", {column.key: getattr(document, column.key) for column in _INFO})
    await commit(session)
    return info


async def update_document(
    session: AsyncSession, document_id: int, *, title: str | None = None, content: str | None = None
) -> DocumentInfo | None:
    """A new title holds at once, in search results too; a new content is found when its job has completed."""
    changes: dict[str, object] = {} if title is None else {"title": title}
    if content is not None:
        changes |= {**measured(content), "status": "waiting"}
    query = (
        update(Document)
        .where(Document.id == document_id)
        .values(**changes, version=Document.version + 1, updated_at=now())
        .returning(*_INFO)
    )
    info = await one_as(DocumentInfo, session, query)
    if info is None:
        return None
    if content is not None:
        await enqueue(session, "ingest", document_id)
    await commit(session)
    return info


async def delete_document(session: AsyncSession, document_id: int) -> bool:
    gone = await session.scalar(delete(Document).where(Document.id == document_id).returning(Document.id))
    if gone is None:
        return False
    await commit(session)
    return True


def document_key(document_id: int) -> str:
    return key("document", document_id)


def measured(content: str) -> dict[str, object]:
    """The columns of a document that follow from its content."""
    raw = content.encode()
    return {"content": content, "bytes": len(raw), "digest": hashlib.sha256(raw).hexdigest()}
