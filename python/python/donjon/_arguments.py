"""Arguments: which ones of a function say what its result is, and which are only the means to get it.

Owns what of an automatic key is left out: `self`, database sessions and connections, requests, services that FastAPI injects, and
what is marked. Data that it injects may be the user whose data is returned, and is never left out unsaid. Nothing is imported for that: whoever names a class of a library has imported the library.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from datetime import date, time
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

__all__ = ["LeftOut", "NoKey", "is_method", "left_out"]


class NoKey:
    """Marks an argument that does not say what the result is: `client: Annotated[Client, NoKey]`."""


class LeftOut(NamedTuple):
    """Why an argument is no part of an automatic key."""

    why: str
    of_request: bool
    """Whether it ends with the request: what runs after it may not use it."""
    notice: Literal["none", "log", "refuse"] = "none"
    """What is said of that: a service is left out aloud, and what may be the user whose data it is cannot be."""


# By the package and the name, as found among the base classes.
_MEANS = {
    ("aiosqlite", "Connection"): "a connection",
    ("asyncpg", "Connection"): "a connection",
    ("asyncpg", "Pool"): "a pool of connections",
    ("donjon", "Cache"): "a cache",
    ("donjon", "SyncCache"): "a cache",
    ("fastapi", "SecurityScopes"): "a dependency",
    ("httpx", "AsyncClient"): "a client",
    ("httpx", "Client"): "a client",
    ("psycopg", "AsyncConnection"): "a connection",
    ("psycopg", "Connection"): "a connection",
    ("pydantic_settings", "BaseSettings"): "the settings",
    ("sqlalchemy", "AsyncConnection"): "a connection",
    ("sqlalchemy", "AsyncEngine"): "an engine",
    ("sqlalchemy", "AsyncSession"): "a session",
    ("sqlalchemy", "Connection"): "a connection",
    ("sqlalchemy", "Engine"): "an engine",
    ("sqlalchemy", "Session"): "a session",
    ("sqlalchemy", "async_scoped_session"): "a session",
    ("sqlalchemy", "scoped_session"): "a session",
    ("starlette", "BackgroundTasks"): "the work after a response",
    ("starlette", "HTTPConnection"): "a request",
    ("starlette", "Response"): "a response",
}
_LASTING = frozenset({"a cache", "a client", "an engine", "a pool of connections", "the settings"})
# As `_keys.text` reads them; what is None has a text as well.
_TEXTS = (str, int, UUID, date, time, Enum, type(None))
# What an annotation that cannot be resolved, since it is imported for type checkers only, is known by.
_NAMES = {name: what for (_, name), what in _MEANS.items() if name != "Response"} | {
    "Request": "a request",
    "WebSocket": "a request",
}


def is_method(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is named as methods name theirs; a decorator has nothing else to see it by."""
    return next(iter(inspect.signature(function).parameters), None) in ("self", "cls")


def left_out(function: Callable[..., Any]) -> dict[str, LeftOut]:
    """The parameters of `function` that an automatic key leaves out.

    Examples:
        >>> def find(client: Annotated[object, NoKey], text: str): ...
        >>> list(left_out(find))
        ['client']
    """
    found = {}
    parameters = inspect.signature(function).parameters
    for place, (name, parameter) in enumerate(parameters.items()):
        if place == 0 and name in ("self", "cls"):
            found[name] = LeftOut("the instance", of_request=False)
            continue
        why = _why(_resolved(function, parameter.annotation), parameter.default)
        if why is not None:
            found[name] = why
    return found


def _why(annotation: Any, default: Any) -> LeftOut | None:
    extras: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        extras = tuple(rest)
    if any(each is NoKey or isinstance(each, NoKey) for each in extras):
        return LeftOut("marked", of_request=False)
    what = _means(annotation)
    if what is not None:
        return LeftOut(what, of_request=what not in _LASTING)
    if any(map(_is_dependency, (*extras, default))) and not _has_text(annotation):
        return LeftOut("a dependency", of_request=True, notice="refuse" if _is_data(annotation) else "log")
    return None


def _has_text(annotation: Any) -> bool:
    """Whether its values have a stable text, so that they can be part of a key like any argument."""
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_has_text, get_args(annotation)))
    return isinstance(annotation, type) and issubclass(annotation, _TEXTS)


def _is_data(annotation: Any) -> bool:
    """Whether it says something, as a user does, and is not there to do something, as a service is."""
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_data, get_args(annotation)))
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and (
        issubclass(kind, (dict, list, tuple, set, frozenset, *_TEXTS))
        or is_typeddict(kind)
        or is_dataclass(kind)
        or any(hasattr(kind, mark) for mark in ("__pydantic_fields__", "__attrs_attrs__", "__mapper__"))
    )


def _means(annotation: Any) -> str | None:
    if isinstance(annotation, str):
        words = re.findall(r"\w+", annotation)
        if "NoKey" in words:
            return "a client"
        return next((_NAMES[word] for word in words if word in _NAMES), None)
    if get_origin(annotation) in (Union, UnionType):
        return _all_means(each for each in get_args(annotation) if each is not type(None))
    if isinstance(annotation, type):
        for base in annotation.__mro__:
            what = _MEANS.get((base.__module__.partition(".")[0], base.__name__))
            if what is not None:
                return what
    return None


def _all_means(annotations: Iterable[Any]) -> str | None:
    found = [_means(each) for each in annotations]
    return found[0] if found and all(found) else None


def _is_dependency(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ in ("Depends", "Security") and kind.__module__.partition(".")[0] == "fastapi"


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    """What an annotation stands for; the text itself where that does not exist at run time."""
    if not isinstance(annotation, str):
        return annotation

    def one() -> None: ...

    one.__annotations__ = {"one": annotation}
    try:
        return get_type_hints(one, globalns=function.__globals__, include_extras=True)["one"]
    except Exception:  # whatever evaluating a text may raise
        return annotation
