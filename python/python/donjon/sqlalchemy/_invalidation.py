"""Invalidation that follows the database's commits.

Owns when the cache is told: collected while a session flushes and executes, by transaction and savepoint; forgotten with what is
rolled back; sent once it is committed, before `commit()` returns. What a change makes untrue is said in `_rules`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, sessionmaker
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from donjon._cache import Cache
from donjon._errors import ConfigError
from donjon._process import get_cache
from donjon._runtime import complete

from ._changes import after, before, changed_table, known_of_all, state_of
from ._rules import Rule, Targets, rule_for
from ._telling import Held, announce, tell

__all__ = ["Invalidation"]

_LONGEST_INTENT = 3600.0


class Invalidation:
    """Tells a cache what committed changes of mapped classes make untrue.

    A load that read the old row before the commit is refused by the invalidation after it, so no reader between the two puts the
    old value back. Load with a session that holds no changes of its own: what it sees is not committed yet.

    Not seen are changes past the session: `Connection.execute`, the `bulk_…_mappings` of old, text SQL, what the database does by
    itself (`ON DELETE CASCADE`, triggers), and other programs. Say those by `cache.rules` and `emit`.

    Args:
        cache: The cache, or what gives it when it is needed. The default is `donjon.get_cache`.
        patience: Seconds for which `commit()` waits where Redis cannot be told; after it the invalidation stays queued, and an
            error is logged. 0.0 leaves it in the queue at once.
        write_intent: Seconds for which the keys are marked in Redis just before the database commits, until they are invalidated.
            Should this process die between the two, nobody stores or is served what was there before; without it that stays until its
            time to live ends. Longer than any commit takes, such as 10.0. Patterns and tags cannot be marked. None marks nothing.

    Examples:
        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
        >>> from donjon import Cache
        >>> class Base(DeclarativeBase): ...
        >>> class User(Base):
        ...     __tablename__ = "users"
        ...     id: Mapped[int] = mapped_column(primary_key=True)
        ...     name: Mapped[str]
        >>> cache, engine = Cache.memory(), create_engine("sqlite://")
        >>> Base.metadata.create_all(engine)
        >>> sessions = sessionmaker(engine)
        >>> invalidation = Invalidation(cache)
        >>> invalidation.on(User, keys=["user:{id}"])
        >>> invalidation.listen(sessions)
        >>> cache.sync.set("user:1", None)
        >>> with sessions() as session:
        ...     session.add(User(id=1, name="Ada"))
        ...     session.flush()
        ...     print(cache.sync.exists("user:1"))
        ...     session.commit()
        ...     print(cache.sync.exists("user:1"))
        True
        False
        >>> engine.dispose()
    """

    def __init__(
        self,
        cache: Cache | Callable[[], Cache] = get_cache,
        *,
        patience: float = 10.0,
        write_intent: float | None = None,
    ) -> None:
        if not isinstance(cache, Cache) and not callable(cache):
            raise TypeError(f"Invalidation takes a cache, or a function that gives one, not {type(cache).__name__}")
        if not patience >= 0:
            raise ConfigError(f"`patience` is seconds from 0 on, not {patience}")
        if write_intent is not None and not 0 < write_intent <= _LONGEST_INTENT:
            raise ConfigError(f"`write_intent` is seconds, above 0 and up to {_LONGEST_INTENT}, not {write_intent}")
        self._cache = cache
        self._patience = patience
        self._write_intent = write_intent
        self._rules: list[Rule] = []
        self._sessions: weakref.WeakKeyDictionary[Session, _Collected] = weakref.WeakKeyDictionary()
        self._sending: set[asyncio.Task[None]] = set()

    def on(
        self, model: type, *, keys: Iterable[str] = (), patterns: Iterable[str] = (), tags: Iterable[str] = ()
    ) -> None:
        """From now on, a committed change of a row of `model` invalidates these; so does that of a class derived from it.

        A row that changes invalidates by its old values as well as by its new ones. A statement for many rows (`update`, `delete` or
        `insert` by `session.execute`) invalidates all that a template can stand for, except where it names one row by its
        primary key.

        Args:
            model: A mapped class.
            keys: Keys; `{id}` stands for the column of that name, escaped.
            patterns: As for `invalidate_pattern`; what is put in is matched literally.
            tags: As for `invalidate_tags`. With one that names a column, statements for many rows raise InvalidRule.

        Raises:
            InvalidRule: No mapped class, a name that is none of its columns, or nothing to invalidate.
            InvalidTemplate: A template cannot be read.
        """
        self._rules.append(rule_for(model, keys, patterns, tags))

    def listen(self, sessions: Any) -> None:
        """Follows these sessions.

        Args:
            sessions: A `sessionmaker`, an `async_sessionmaker` or a subclass of `Session`. `Session` itself means every session
                there is.
        """
        if isinstance(sessions, async_sessionmaker):
            followed = sessions.kw.get("sync_session_class") or Session
            sessions.configure(sync_session_class=type(followed.__name__, (followed,), {}))
            sessions = sessions.kw["sync_session_class"]
        elif not isinstance(sessions, sessionmaker) and not (
            isinstance(sessions, type) and issubclass(sessions, Session)
        ):
            raise TypeError(f"listen takes a sessionmaker or a subclass of Session, not {sessions!r}")
        event.listen(sessions, "after_flush", self._flushed)
        event.listen(sessions, "do_orm_execute", self._executes)
        event.listen(sessions, "before_commit", self._commits)
        event.listen(sessions, "after_commit", self._committed)
        event.listen(sessions, "after_transaction_end", self._ended)

    # -- collecting
    def _flushed(self, session: Session, _: object) -> None:
        for instances, is_new, is_gone in (
            (session.new, True, False),
            (session.dirty, False, False),
            (session.deleted, False, True),
        ):
            for instance in instances:
                state = state_of(instance)
                # What the database computed was expired by the flush, and its history with it.
                if not (is_new or is_gone or session.is_modified(instance) or state.expired_attributes):
                    continue
                for rule in self._rules:
                    if issubclass(state.mapper.class_, rule.mapper.class_):
                        targets = self._collected(session)
                        if not is_new:
                            rule.add(targets, before(state, rule.names))
                        if not is_gone:
                            rule.add(targets, after(state, rule.names))

    def _executes(self, execution: ORMExecuteState) -> None:
        table = changed_table(execution.statement)
        if table is None:
            return
        for rule in self._rules:
            if table in rule.mapper.tables or any(
                table in mapper.tables for mapper in rule.mapper.self_and_descendants
            ):
                rule.add(self._collected(execution.session), known_of_all(execution.statement, rule.mapper))

    def _collected(self, session: Session) -> Targets:
        """What the present transaction or savepoint has collected."""
        transaction = session.get_nested_transaction() or session.get_transaction()
        if transaction is None:  # a statement is what begins one
            transaction = session.begin()
        collected = self._sessions.setdefault(session, _Collected())
        return collected.by_transaction.setdefault(transaction, Targets())

    # -- sending
    def _commits(self, session: Session) -> None:
        if session.in_nested_transaction():
            return
        collected = self._sessions.setdefault(session, _Collected())
        if self._write_intent is not None:
            session.flush()  # as the commit is about to: only then is it known what changes
            targets = collected.all()
            if targets.keys:
                collected.held = self._announce(targets, self._write_intent)
        collected.commits = True

    def _committed(self, session: Session) -> None:
        collected = self._sessions.get(session)
        if collected is None:
            return
        nested = session.get_nested_transaction()
        if nested is None:
            del self._sessions[session]
            self._send(collected)
            return
        outer = nested.parent
        while outer is not None and outer.parent is not None and not outer.nested:
            outer = outer.parent
        if outer is not None and (released := collected.by_transaction.pop(nested, None)) is not None:
            kept = collected.by_transaction.setdefault(outer, Targets())
            kept |= released

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        """Whatever was committed was sent, or belongs to the outer transaction by now."""
        collected = self._sessions.get(session)
        if collected is None:
            return
        if transaction.parent is not None:
            collected.by_transaction.pop(transaction, None)
            return
        del self._sessions[session]
        if collected.commits:
            # A commit that failed, or whose caller went away, may have reached the database all the same.
            self._send(collected)

    def _announce(self, targets: Targets, seconds: float) -> Held:
        if in_greenlet():
            return await_only(announce(self._followed(), targets, seconds))
        return complete(announce(self._followed().sync, targets, seconds))

    def _send(self, collected: _Collected) -> None:
        targets = collected.all()
        if not targets:
            return
        if not in_greenlet():
            complete(tell(self._followed().sync, targets, collected.held, self._patience))
            return
        # A task of its own: whoever commits may be cancelled, which must not keep others from hearing of it.
        task = asyncio.ensure_future(tell(self._followed(), targets, collected.held, self._patience))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await_only(asyncio.shield(task))

    def _followed(self) -> Cache:
        return self._cache if isinstance(self._cache, Cache) else self._cache()


class _Collected:
    """What one session has collected."""

    def __init__(self) -> None:
        self.by_transaction: dict[SessionTransaction, Targets] = {}
        self.held: Held = {}
        self.commits = False

    def all(self) -> Targets:
        whole = Targets()
        for targets in self.by_transaction.values():
            whole |= targets
        return whole
