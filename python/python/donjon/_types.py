"""Types: from the JSON that a cache keeps to the type a caller asked for, and back.

A type that JSON can say itself (`dict[str, int]`, `str | None`) needs no work. Everything else goes through pydantic's
`TypeAdapter`, one per type. A value carries the fingerprint of the type that it was made from: a reader of that very type
takes it at its word, any other checks it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from . import _donjon
from ._donjon import Unproven
from ._errors import ConfigError, DecodeError
from ._foreign import simpler

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Codec", "annotation_codec", "codec", "itself", "return_type"]

_PLAIN = frozenset({dict, list, str, int, float, bool, bytes, NoneType, Any, object, None})


def itself(value: Any) -> Any:
    """What needs no work."""
    return value


class Codec:
    """How values of one type go into the cache and come out of it."""

    __slots__ = ("check", "fingerprint", "is_plain", "seal", "trust")

    def __init__(
        self,
        check: Callable[[Any], Any],
        fingerprint: int | None = None,
        trust: Callable[[Any], Any] = itself,
        seal: Callable[[Any], Any] = itself,
    ) -> None:
        self.check = check
        """The typed value of what is stored, whatever it was made from; raises DecodeError."""
        self.trust = trust
        """The typed value of what is stored with the fingerprint; raises DecodeError where that is wrong."""
        self.fingerprint = fingerprint
        """What names the type, to be given to whoever reads and stores; None where nothing does, and all is checked."""
        self.is_plain = fingerprint is not None and trust is itself
        """Whether what is stored with the fingerprint is what is returned."""
        self.seal = seal
        """What is to be stored for a value, found to be of the type; raises DecodeError."""

    def read(self, value: Any) -> Any:
        """The typed value of what a reader with this fingerprint was given.

        Raises:
            DecodeError: It is none of the type.
        """
        if type(value) is Unproven:
            return self.check(value.value)
        return self.check(value) if self.fingerprint is None else self.trust(value)


def codec(as_: Any) -> Codec | None:
    """How an `as_` is stored and read; None where every value is one.

    Raises:
        ConfigError: pydantic is not installed, or knows nothing of the type.

    Examples:
        >>> codec(dict[str, list[int]]).read({"a": [1]})
        {'a': [1]}
        >>> from datetime import date
        >>> codec(date).seal(date(2026, 1, 31))
        '2026-01-31'
    """
    if _is_plain(as_):
        if as_ in (Any, object):
            return None
        return Codec(partial(_expect, as_), seal=lambda value: _expect(as_, _donjon.Value(value, simpler).copy()))
    try:
        return _codec(as_)
    except TypeError:  # a type that cannot be hashed, such as an Annotated with a list in it
        return _codec.__wrapped__(as_)


def annotation_codec(annotation: Any) -> Codec | None:
    """As `codec`, for a function's own word: what it gives is of a type that JSON can say without a look."""
    if not _is_plain(annotation):
        return codec(annotation)
    if annotation in (Any, object):
        return None
    return Codec(partial(_expect, annotation), _fingerprint(_name(annotation)))


@lru_cache(maxsize=1024)
def _codec(as_: Any) -> Codec:
    try:
        from pydantic import PydanticUserError, TypeAdapter
    except ImportError:
        raise ConfigError(f"reading a value as {_name(as_)} takes pydantic: install donjon[pydantic]") from None
    from ._trust import trusting

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(as_)
    except PydanticUserError as error:
        raise ConfigError(f"a value cannot be read as {_name(as_)}: {error.message}") from error
    check = partial(_check, adapter, _name(as_))
    fingerprint = _schema_fingerprint(adapter)
    if fingerprint is None:
        return Codec(check, seal=partial(_seal, adapter, check))
    return Codec(check, fingerprint, trusting(adapter, check, itself), partial(_seal, adapter, check))


def _check(adapter: TypeAdapter[Any], name: str, value: Any) -> Any:
    """A stored value, validated."""
    from pydantic import ValidationError

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
        raise DecodeError(f"no valid {name}: see {places}") from None
    except (TypeError, ValueError):
        raise DecodeError(f"no valid {name}") from None


def _seal(adapter: TypeAdapter[Any], check: Callable[[Any], Any], value: Any) -> Any:
    """The JSON form of a value that a loader gave; what has no such form there is left to the extension."""
    from pydantic import ValidationError
    from pydantic_core import PydanticSerializationError

    try:
        typed = adapter.validate_python(value, by_alias=True, by_name=True)
    except ValidationError:
        # A row where a model is wanted, or the JSON form already.
        typed = check(_donjon.Value(value, simpler).copy())
    try:
        return adapter.dump_python(typed, mode="json", round_trip=True, warnings=False)
    except (PydanticSerializationError, UnicodeDecodeError):
        return typed


def _schema_fingerprint(adapter: TypeAdapter[Any]) -> int | None:
    """Of what a type takes and gives, the same in every process; None of a type that has no schema."""
    from pydantic import PydanticUserError
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        ignored_warning_kinds = {"non-serializable-default", "skipped-choice", "skipped-discriminator"}  # noqa: RUF012

    try:
        taken = adapter.json_schema(by_alias=False, mode="validation", schema_generator=Quiet)
        given = adapter.json_schema(by_alias=False, mode="serialization", schema_generator=Quiet)
    except PydanticUserError:
        return None
    return _fingerprint(json.dumps([taken, given], sort_keys=True))


def _fingerprint(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


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
