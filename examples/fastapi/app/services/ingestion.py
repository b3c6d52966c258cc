"""Ingestion: finds documents in folders, keeps their text, cuts it into chunks for the search index.

Finding and keeping is one job (`import`), indexing is one job a document (`ingest`), so that several workers share it.
"""

import asyncio
import importlib.metadata
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache import get_cache
from app.core.database import Database, commit
from app.models import Chunk, Document, User, now
from app.services.documents import measured
from app.services.jobs import enqueue

logger = logging.getLogger(__name__)

ENDINGS = {".md", ".rst", ".txt"}
SKIPPED_FOLDERS = {"target", "node_modules", "demo", "dist", "build"}
SMALLEST, LARGEST = 200, 1_000_000  # bytes of a file worth reading
CHUNK = 1_200  # characters of a search result's surroundings
BATCH = 25  # documents a commit


@dataclass(frozen=True)
class Found:
    """A file to import, and the demo user it is filed under."""

    path: Path
    title: str
    owner: str


# -- one file ----------------------------------------------------------------------------------------


async def ingest_file(database: Database, document_id: int) -> None:
    """Cut the document into chunks and index them. One worker at a time, in whatever process it runs."""
    async with get_cache().lock(f"ingestion:file:{document_id}", ttl=300, wait=60):
        while not await _index(database, document_id):
            logger.debug("document %d changed while it was being read: once more", document_id)


async def _index(database: Database, document_id: int) -> bool:
    """False where the document changed meanwhile."""
    async with database.session() as session:
        columns = (Document.user_id, Document.title, Document.content, Document.version)
        document = (await session.execute(select(*columns).where(Document.id == document_id))).one_or_none()
    if document is None:
        return True  # deleted since: nothing to do

    pieces = await asyncio.to_thread(lambda: list(split(document.content)))
    status = "indexed" if pieces else "failed"
    async with database.session() as session:
        unchanged = (
            update(Document)
            .where(Document.id == document_id, Document.version == document.version)
            .values(status=status, indexed_version=document.version, chunk_count=len(pieces))
        )
        if (await session.execute(unchanged.returning(Document.id))).one_or_none() is None:
            return False
        await session.execute(delete(Chunk).where(Chunk.document_id == document_id))
        rows = [{"document_id": document_id, "position": n, "text": piece} for n, piece in enumerate(pieces)]
        if rows:
            await session.execute(insert(Chunk), rows)
        await commit(session)

    await notify(
        document.user_id,
        {
            "type": f"document.{status}",
            "document_id": document_id,
            "title": document.title,
            "version": document.version,
            "chunks": len(pieces),
        },
    )
    if not pieces:
        raise ValueError(f"document {document_id} holds no text")
    return True


async def notify(user_id: int, message: dict[str, object]) -> None:
    """Tell the user, if one is listening. Nobody's work fails for it."""
    try:
        await get_cache().publish(f"notifications:user:{user_id}", message)
    except Exception as error:
        logger.warning("a notification for user %d was lost: %s", user_id, error)


def split(text: str) -> Iterator[str]:
    """Cut into pieces of about `CHUNK` characters, between paragraphs where that works out, else between words."""
    piece = ""
    for paragraph in text.split("\n\n"):
        words = paragraph.strip()
        while len(words) > CHUNK:
            cut = words.rfind(" ", 1, CHUNK)
            cut = CHUNK if cut == -1 else cut
            if piece:
                yield piece
                piece = ""
            yield words[:cut]
            words = words[cut:].lstrip()
        if piece and len(piece) + len(words) > CHUNK:
            yield piece
            piece = ""
        if words:
            piece = f"{piece}\n\n{words}" if piece else words
    if piece:
        yield piece


# -- many files --------------------------------------------------------------------------------------


async def import_documents(database: Database, folder: Path | None) -> int:
    """Keep every document found and queue a job to index each; what has not changed since last time is left alone."""
    known: set[str] = set()
    queued = 0
    found = find_documents(folder)
    while batch := await asyncio.to_thread(lambda: [read(file) for file in islice(found, BATCH)]):
        async with database.session() as session:
            owners = await _owners(session)
            for file, content in batch:
                columns = measured(content)
                if not content or columns["digest"] in known:
                    continue  # the same licence text lies in many packages
                known.add(str(columns["digest"]))
                document_id = await _keep(session, file, owners[file.owner], columns)
                if document_id is not None:
                    await enqueue(session, "ingest", document_id)
                    queued += 1
            await commit(session)
    logger.info("%d documents to index", queued)
    return queued


async def _keep(session: AsyncSession, file: Found, user_id: int, columns: dict[str, object]) -> int | None:
    query = upsert(Document).values(
        user_id=user_id,
        title=file.title,
        path=str(file.path),
        status="waiting",
        chunk_count=0,
        indexed_version=0,
        **columns,
    )
    changed = query.on_conflict_do_update(
        index_elements=[Document.path],
        set_={
            "title": file.title,
            **columns,
            "status": "waiting",
            "version": Document.version + 1,
            "updated_at": now(),
        },
        where=Document.digest != columns["digest"],
    )
    return await session.scalar(changed.returning(Document.id))


async def _owners(session: AsyncSession) -> dict[str, int]:
    rows = await session.execute(select(User.email, User.id).where(User.email.in_([PROJECT_OWNER, PACKAGE_OWNER])))
    return {row.email: row.id for row in rows}


PROJECT_OWNER, PACKAGE_OWNER = "keeper@example.org", "librarian@example.org"


async def ensure_demo_users(session: AsyncSession) -> None:
    """The two users that imported documents are filed under."""
    people = [
        {"name": "Keeper", "email": PROJECT_OWNER, "about": "Has the texts of this project, or of your folder."},
        {"name": "Librarian", "email": PACKAGE_OWNER, "about": "Has the docs of the installed Python packages."},
    ]
    for person in people:
        await session.execute(
            upsert(User)
            .values(about=person["about"], name=person["name"], email=person["email"])
            .on_conflict_do_nothing()
        )
    await session.commit()


def find_documents(folder: Path | None) -> Iterator[Found]:
    """The texts in `folder`; without one, those of this project and of the installed Python packages."""
    if folder is not None:
        yield from _in_folder(folder, "")
        return
    yield from _in_folder(Path(__file__).resolve().parents[4], "donjon: ")
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.name == "METADATA" or file.suffix in ENDINGS:
                title = (
                    package.metadata["Name"] if file.name == "METADATA" else f"{package.metadata['Name']}: {file.name}"
                )
                yield Found(Path(str(file.locate())), title, PACKAGE_OWNER)


def _in_folder(folder: Path, prefix: str) -> Iterable[Found]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir() and path.name not in SKIPPED_FOLDERS:
            yield from _in_folder(path, f"{prefix}{path.name}/")
        elif path.suffix in ENDINGS and path.is_file():
            yield Found(path, f"{prefix}{path.name}", PROJECT_OWNER)


def read(file: Found) -> tuple[Found, str]:
    """The file's text; empty where it cannot be read, is tiny or huge, or is no text."""
    try:
        if not SMALLEST <= file.path.stat().st_size <= LARGEST:
            return file, ""
        raw = file.path.read_bytes()
    except OSError as error:
        logger.warning("skipped %s: %s", file.path, error)
        return file, ""
    return file, "" if b"\0" in raw else raw.decode("utf-8", "replace")
