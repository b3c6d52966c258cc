"""Values that are no JSON types, turned into some: dataclasses, pydantic models, SQLAlchemy-mapped instances.

The extension calls `simpler` for what it does not know, and goes on inside what it gets back. Nothing is imported here for a
value's sake: whoever has an instance of a library's class has imported that library.
"""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

from ._errors import UnsupportedValue

__all__ = ["simpler"]


def simpler(value: Any) -> Any:
    """A dict of what `value` consists of.

    Raises:
        UnsupportedValue: Nothing is known about its type.

    Examples:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Point:
        ...     x: int
        ...     y: int
        >>> simpler(Point(1, 2))
        {'x': 1, 'y': 2}
        >>> simpler(object())
        Traceback (most recent call last):
        donjon._errors.UnsupportedValue: an object of type object has no JSON form: make it a dict, a dataclass or a pydantic model
    """
    kind = type(value)
    # First, as a mapped class may be a dataclass or a model besides, and reading those would load what is not there.
    if "_sa_instance_state" in getattr(value, "__dict__", ()):
        from .sqlalchemy import loaded_columns

        return loaded_columns(value)
    if "pydantic" in sys.modules and isinstance(value, sys.modules["pydantic"].BaseModel):
        return value.model_dump(mode="json", round_trip=True)
    if is_dataclass(kind):
        # What `__init__` does not take is made anew when the value is read.
        return {field.name: getattr(value, field.name) for field in fields(kind) if field.init}
    raise UnsupportedValue(
        f"an object of type {kind.__qualname__} has no JSON form: make it a dict, a dataclass or a pydantic model"
    )
