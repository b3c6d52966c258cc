"""Documents: what is there, and changing it."""

from typing import Annotated

from donjon.fastapi import CachedRoute, cached_response
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError

from app.core.cache import or_directly
from app.core.database import SessionDep, commit
from app.core.security import require_admin
from app.routes import Id
from app.services import documents
from app.services.jobs import enqueue

router = APIRouter(prefix="/documents", tags=["documents"], route_class=CachedRoute)
admin = APIRouter(prefix="/admin/documents", tags=["admin"], dependencies=[Depends(require_admin)])

Title = Annotated[str, Field(min_length=1, max_length=200)]
Content = Annotated[str, Field(min_length=1, max_length=1_000_000)]


class NewDocument(BaseModel):
    user_id: Id
    title: Title
    content: Content


class DocumentChanges(BaseModel):
    title: Title | None = None
    content: Content | None = None


@router.get("")
async def list_documents(
    session: SessionDep,
    user_id: Id | None = None,
    offset: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[documents.DocumentInfo]:
    """The newest first."""
    return await or_directly(
        documents.list_documents(session, user_id, offset, limit),
        lambda: documents.load_list(session, user_id, offset, limit),
    )


@router.get("/summary")
async def get_summary(session: SessionDep) -> documents.Summary:
    """How many there are, and the largest."""
    return await or_directly(documents.get_summary(session), lambda: documents.load_summary(session))


@router.get("/{document_id}")
async def get_document(document_id: Id, session: SessionDep) -> documents.DocumentText:
    document = await or_directly(
        documents.get_document(session, document_id), lambda: documents.load_document(session, document_id)
    )
    if document is None:
        raise HTTPException(404, "there is no such document")
    return document


@router.get("/{document_id}/content", response_class=PlainTextResponse)
@cached_response("5m", grace="1h")
async def get_content(document_id: Id, session: SessionDep) -> str:
    """The text alone. The whole response is cached: who has this version already gets an empty 304."""
    document = await documents.load_document(session, document_id)
    if document is None:
        raise HTTPException(404, "there is no such document")
    return document["content"]


@router.post("", status_code=201)
async def create_document(new: NewDocument, session: SessionDep, request: Request) -> documents.DocumentInfo:
    """Keep a text. A job makes it searchable; the owner's WebSocket says when."""
    try:
        document = await documents.create_document(session, user_id=new.user_id, title=new.title, content=new.content)
    except IntegrityError:
        raise HTTPException(422, "there is no such user") from None
    request.app.state.runner.wake()
    return document


@router.put("/{document_id}")
async def update_document(
    document_id: Id, changes: DocumentChanges, session: SessionDep, request: Request
) -> documents.DocumentInfo:
    """Change the title, which holds at once, or the content, which a job indexes."""
    document = await documents.update_document(session, document_id, title=changes.title, content=changes.content)
    if document is None:
        raise HTTPException(404, "there is no such document")
    request.app.state.runner.wake()
    return document


@router.delete("/{document_id}", status_code=204)
async def delete_document(document_id: Id, session: SessionDep) -> None:
    if not await documents.delete_document(session, document_id):
        raise HTTPException(404, "there is no such document")


@admin.post("/import", status_code=202)
async def import_documents(session: SessionDep, request: Request) -> dict[str, int]:
    """Look through the folder again; what has changed is indexed anew."""
    job = await enqueue(session, "import")
    await commit(session)
    request.app.state.runner.wake()
    return {"job_id": job.id}
