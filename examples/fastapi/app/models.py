"""The tables. Versions grow by one with every change of a row; times are ISO 8601 text in UTC."""

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import JSON, Connection, ForeignKey, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Base(DeclarativeBase):
    pass


# SQLite would give the id of a deleted row to the next one, and what was meant for the one would reach the other.
_NEVER_REUSED = {"sqlite_autoincrement": True}


class User(Base):
    __tablename__ = "users"
    __table_args__ = _NEVER_REUSED

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    about: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[str] = mapped_column(default=now)


class Document(Base):
    """A text and where it came from. `indexed_version` is the version that the search index has seen."""

    __tablename__ = "documents"
    __table_args__ = _NEVER_REUSED

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str]
    path: Mapped[str | None] = mapped_column(unique=True)  # of the file it was read from; None: sent by a user
    content: Mapped[str]
    digest: Mapped[str]
    bytes: Mapped[int]
    status: Mapped[str] = mapped_column(default="waiting")  # waiting, indexed, failed
    chunk_count: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    indexed_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[str] = mapped_column(default=now)
    updated_at: Mapped[str] = mapped_column(default=now)


class Chunk(Base):
    """A piece of a document, as long as a search result should be. Triggers keep the full-text index in step."""

    __tablename__ = "chunks"

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    text: Mapped[str]


class Job(Base):
    """Work for the background: queued, running, then completed or failed."""

    __tablename__ = "jobs"
    __table_args__ = _NEVER_REUSED

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]  # ingest, import
    document_id: Mapped[int | None]
    status: Mapped[str] = mapped_column(default="queued", index=True)
    error: Mapped[str | None]
    created_at: Mapped[str] = mapped_column(default=now)
    started_at: Mapped[str | None]
    finished_at: Mapped[str | None]


class ConfigEntry(Base):
    __tablename__ = "app_config"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[str] = mapped_column(default=now)


_FULL_TEXT_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS chunks_fts USING fts5("
    "text, content='chunks', content_rowid='id', tokenize='porter unicode61')",
    "CREATE TRIGGER IF NOT EXISTS chunks_inserted AFTER INSERT ON chunks BEGIN "
    "INSERT INTO chunks_fts(rowid, text) VALUES (new.id, new.text); END",
    "CREATE TRIGGER IF NOT EXISTS chunks_deleted AFTER DELETE ON chunks BEGIN "
    "INSERT INTO chunks_fts(chunks_fts, rowid, text) VALUES ('delete', old.id, old.text); END",
)


@event.listens_for(Base.metadata, "after_create")
def _create_full_text_index(_: object, connection: Connection, **__: object) -> None:
    for statement in _FULL_TEXT_INDEX:
        connection.exec_driver_sql(statement)
