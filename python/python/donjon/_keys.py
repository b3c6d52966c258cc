"""Keys from parts: how a Python value becomes text in a key, in one rule for templates, events and `key()`.

| value | text |
|---|---|
| `str` | itself, `%` and `:` escaped |
| `int` | decimal |
| `bool` | `true`, `false` |
| `None` | `%null`, which no string becomes, as its `%` would be escaped |
| `UUID` | with hyphens |
| `date`, `datetime`, `time` | ISO 8601 |
| `Enum` | the text of its value |

Anything else has no stable text and is refused: a key made from the `repr` of an object would change with its address. A
number and the same number as text (`5`, `"5"`) share a key.
"""

from __future__ import annotations

from datetime import date, time
from enum import Enum
from typing import Any
from uuid import UUID

from . import _donjon
from ._errors import InvalidKey

__all__ = ["ANY", "NULL", "key", "part", "pattern", "text", "typed_part"]

ANY = _donjon.ANY
"""Stands for any text at one place of a `pattern`."""

NULL = "%null"
"""How None looks in a key."""


def text(value: object) -> str:
    """The text of `value` before anything is escaped.

    Raises:
        InvalidKey: The type has no stable text.
    """
    if isinstance(value, Enum):
        return text(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    raise InvalidKey(
        f"a value of type {type(value).__qualname__} has no stable text for a key: use a str, int, UUID, date or Enum of it"
    )


def part(value: object) -> str:
    """One part of a key: the text of `value`, escaped."""
    if value is None:
        return NULL
    written = text(value)
    return _donjon.key(written) if written else ""


def typed_part(value: object) -> str:
    """As `part`, but values of two types never share a text: for keys that no author looks at."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return _donjon.key(f"'{value}'")
    if isinstance(value, Enum):
        return _donjon.key(f"{type(value).__qualname__}.{value.name}")
    return part(value)


def key(*parts: object) -> str:
    """A key from its parts, each escaped, so that no two lists of texts give the same key.

    `%` becomes `%25`, `:` becomes `%3A`, and a part over 128 bytes becomes `~` and a hash.

    Raises:
        InvalidKey: No part was given, one has no stable text, or the whole is empty or over 1 KiB.

    Examples:
        >>> key("user", 5, "profile")
        'user:5:profile'
        >>> key("a:b", "c") == key("a", "b:c")
        False
    """
    if not parts:
        raise InvalidKey("a key has at least one part")
    made = ":".join(map(part, parts))
    _donjon.check_key(made)
    return made


def pattern(*parts: object) -> str:
    """A pattern that matches what `key` gives for the same parts, with `ANY` for parts that may be anything.

    Wildcards inside a part are matched literally. As patterns go, `ANY` also matches across a `:`.

    Raises:
        InvalidKey: No part was given, or one has no stable text.

    Examples:
        >>> pattern("user", ANY, "profile")
        'user:*:profile'
    """
    if not parts:
        raise InvalidKey("a pattern has at least one part")
    return ":".join(map(_pattern_part, parts))


def _pattern_part(value: Any) -> str:
    if value is ANY:
        return _donjon.pattern(ANY)
    if value is None:
        return NULL
    written = text(value)
    return _donjon.pattern(written) if written else ""
