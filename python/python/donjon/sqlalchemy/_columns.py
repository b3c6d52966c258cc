"""Mapped instances go into the cache as their loaded columns.

Never loads anything: what was not loaded, was deferred, or expired with a commit is left out, and a detached instance is as
good as any. A value comes back as a dict, or as what `as_` says.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect

from donjon._errors import UnsupportedValue

__all__ = ["loaded_columns"]


def loaded_columns(instance: Any) -> dict[str, Any]:
    """The columns of a mapped instance that are loaded now, by attribute name.

    Raises:
        UnsupportedValue: None is loaded, as after a commit that expires its instances: an empty dict would be cached silently.
    """
    state = inspect(instance)
    loaded = state.dict
    columns = {column.key: loaded[column.key] for column in state.mapper.column_attrs if column.key in loaded}
    if not columns:
        raise UnsupportedValue(
            f"no column of this {type(instance).__qualname__} is loaded: "
            "refresh it first, or open the session with expire_on_commit=False"
        )
    return columns
