"""What is known of the rows that a session is about to change: of instances in a flush, and of whole statements.

Never queries: what is not loaded is not known. Must not know what follows from a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ClauseElement, Delete, Insert, Update, inspect
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList

__all__ = ["after", "before", "changed_table", "known_of_all", "state_of"]


def before(state: InstanceState[Any], names: Iterable[str]) -> dict[str, object]:
    """Of these columns, the values that are known to be in the database before the flush."""
    known: dict[str, object] = {}
    for name in names:
        history = state.attrs[name].history
        if history.deleted:
            known[name] = history.deleted[0]
        elif not history.added and name in state.dict:
            known[name] = state.dict[name]
    return _plain(known)


def after(state: InstanceState[Any], names: Iterable[str]) -> dict[str, object]:
    """Of these columns, the values that are known to be there after it."""
    return _plain({name: state.dict[name] for name in names if name in state.dict})


def changed_table(statement: Any) -> Any:
    """The table that a statement changes; None where it changes none."""
    return statement.entity_description["table"] if isinstance(statement, (Insert, Update, Delete)) else None


def known_of_all(statement: Any, mapper: Mapper[Any]) -> dict[str, object]:
    """What is certain of every row that an UPDATE or DELETE changes: its primary key, where it asks for one by its value.

    Only that, since a primary key does not change; the other columns of its WHERE say how rows were, not how they become.
    """
    if not isinstance(statement, (Update, Delete)) or statement.whereclause is None:
        return {}
    known: dict[str, object] = {}
    for column in mapper.primary_key:
        if _sets(statement, column):
            return {}
        for clause in _all_of(statement.whereclause):
            if isinstance(clause, BinaryExpression) and clause.operator is operators.eq:
                for one, other in ((clause.left, clause.right), (clause.right, clause.left)):
                    if column.shares_lineage(one) and isinstance(other, BindParameter) and not other.required:
                        known[mapper.get_property_by_column(column).key] = other.effective_value
    return _plain(known)


def _sets(statement: Any, column: Any) -> bool:
    """Whether an UPDATE assigns to a column. SQLAlchemy has no public word for it: where its own has gone, it might."""
    if not isinstance(statement, Update):
        return False
    values, ordered = getattr(statement, "_values", ...), getattr(statement, "_ordered_values", None)
    if values is ... or getattr(statement, "_multi_values", None):
        return True
    assigned = [*(values or ()), *(name for name, _ in ordered or ())]
    return any(
        column.shares_lineage(name) if hasattr(name, "shares_lineage") else name == column.key for name in assigned
    )


def _all_of(clause: Any) -> Iterator[Any]:
    if isinstance(clause, BooleanClauseList):
        if clause.operator is operators.and_:
            for part in clause.clauses:
                yield from _all_of(part)
        return
    yield clause


def _plain(known: dict[str, object]) -> dict[str, object]:
    """Without what the database computes."""
    return {name: value for name, value in known.items() if not isinstance(value, ClauseElement)}


def state_of(instance: object) -> InstanceState[Any]:
    """SQLAlchemy's own book of an instance."""
    state: InstanceState[Any] = inspect(instance)
    return state
