"""Types: from the JSON that a cache keeps to the type a caller asked for.

A type that JSON can say itself (`dict[str, int]`, `str | None`) needs no work. Everything else goes through pydantic's
`TypeAdapter`, one per type.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ._errors import ConfigError, DecodeError

__all__ = ["Decoder", "annotation_decoder", "decoder", "return_type"]

Decoder = Callable[[Any], Any]
"""Gives the typed value; raises DecodeError."""

_PLAIN = frozenset({dict, list, str, int, float, bool, bytes, NoneType, Any, object, None})


def decoder(as_: Any) -> Decoder | None:
    """What turns a stored value into an `as_`, or finds that it is none; None where every value is one.

    Raises:
        ConfigError: pydantic is not installed, or knows nothing of the type.

    Examples:
        >>> decoder(dict[str, list[int]])({"a": [1]})
        {'a': [1]}
        >>> from datetime import date
        >>> decoder(date)("2026-01-31")
        datetime.date(2026, 1, 31)
    """
    if _is_plain(as_):
        return None if as_ in (Any, object) else partial(_expect, as_)
    try:
        return _decoder(as_)
    except TypeError:  # a type that cannot be hashed, such as an Annotated with a list in it
        return _decoder.__wrapped__(as_)


def annotation_decoder(annotation: Any) -> Decoder | None:
    """As `decoder`, for a function's own word: what JSON can say needs no look at each hit, since the function returned it."""
    return None if _is_plain(annotation) else decoder(annotation)


@lru_cache(maxsize=1024)
def _decoder(as_: Any) -> Decoder:
    try:
        from pydantic import PydanticUserError, TypeAdapter, ValidationError
    except ImportError:
        raise ConfigError(f"reading a value as {_name(as_)} takes pydantic: install donjon[pydantic]") from None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(as_)
    except PydanticUserError as error:
        raise ConfigError(f"a value cannot be read as {_name(as_)}: {error.message}") from error

    def decode(value: Any) -> Any:
        # By name as well: models are stored under the names of their fields.
        try:
            return adapter.validate_python(value, by_alias=True, by_name=True)
        except ValidationError:
            pass
        # A strict model takes a date or a UUID from JSON text only.
        try:
            return adapter.validate_json(json.dumps(value), by_alias=True, by_name=True)
        except ValidationError as error:
            places = ", ".join(sorted({".".join(map(str, each["loc"])) or "value" for each in error.errors()}))
            raise DecodeError(f"no valid {_name(as_)}: see {places}") from None
        except (TypeError, ValueError):
            raise DecodeError(f"no valid {_name(as_)}") from None

    return decode


def _expect(as_: Any, value: Any) -> Any:
    if not _conforms(value, as_):
        raise DecodeError(f"no valid {_name(as_)}")
    return value


def _conforms(value: Any, as_: Any) -> bool:
    """Whether a plain value is of a plain type; an int is a float as well, and a bool is neither."""
    if as_ is Any or as_ is object:
        return True
    origin, arguments = get_origin(as_) or as_, get_args(as_)
    if origin in (Union, UnionType):
        return any(_conforms(value, each) for each in arguments)
    if origin is float:
        return type(value) in (int, float)
    if origin is dict:
        return type(value) is dict and (not arguments or all(_conforms(each, arguments[1]) for each in value.values()))
    if origin is list:
        return type(value) is list and (not arguments or all(_conforms(each, arguments[0]) for each in value))
    if _is_mapped(origin):
        return type(value) is dict
    return type(value) is (NoneType if origin is None else origin)


def _is_plain(as_: Any) -> bool:
    """Whether JSON can say every value of the type."""
    origin = get_origin(as_)
    if origin is None:
        return _hashable(as_) and (as_ in _PLAIN or _is_mapped(as_))
    arguments = get_args(as_)
    if origin is dict and arguments and arguments[0] not in (str, Any):
        return False
    return origin in (dict, list, Union, UnionType) and all(map(_is_plain, arguments))


def _is_mapped(as_: Any) -> bool:
    """Whether it is a class mapped by SQLAlchemy: those come back as dicts, since a session is not the cache's to open."""
    return "sqlalchemy" in sys.modules and isinstance(as_, type) and hasattr(as_, "__mapper__")


def _hashable(as_: Any) -> bool:
    return getattr(type(as_), "__hash__", None) is not None


def _name(as_: Any) -> str:
    return as_.__qualname__ if isinstance(as_, type) and get_origin(as_) is None else str(as_)


def return_type(function: Callable[..., Any]) -> Any:
    """What the function's annotation says it returns; Any where it says nothing.

    Raises:
        ConfigError: The annotation names what does not exist at run time.
    """
    annotations = _annotations(function)
    if "return" not in annotations:
        return Any

    # The return annotation alone: one of a parameter may name what is imported for type checkers only.
    def returns() -> None: ...

    returns.__annotations__ = {"return": annotations["return"]}
    try:
        return get_type_hints(returns, globalns=function.__globals__, include_extras=True)["return"]
    except NameError as error:
        raise ConfigError(
            f"{function.__qualname__} says it returns {annotations['return']!r}, but at run time {error}: give `as_=`"
        ) from None


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(function, format=Format.FORWARDREF)
    return function.__annotations__
