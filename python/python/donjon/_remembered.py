"""Remembered failures: which exceptions of a loader are kept for a while, and how each who asks gets one of its own.

Owns what is kept of one: the full name of its class, its `args` and its attributes, if all that is plain JSON. Nothing is pickled,
imported or called by a name out of the cache: who reads makes only exceptions of classes that it declared itself, and to all
others, in other languages too, there is nothing under the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from ._donjon import Failure, Value
from ._errors import ConfigError, UnsupportedValue

if TYPE_CHECKING:
    from ._backend import Backend
    from ._ttl import Ttl

__all__ = ["ErrorTtls", "Errors", "remembered"]

ErrorTtls = Mapping[type[Exception], "Ttl"]
"""The times to live of what a loader may raise, by its class."""


class Errors:
    """The exceptions that one caller remembers."""

    def __init__(self, memory: Backend, ttls: ErrorTtls) -> None:
        self._memory = memory
        self._seconds = {class_: memory.seconds(ttl) for class_, ttl in ttls.items()}
        self._named = {_name(class_): class_ for class_ in ttls}

    def say(self, key: str, error: Exception) -> tuple[Any, float] | None:
        """What to keep of an error, and for how many seconds; None where it is not to be kept, or cannot be."""
        seconds = self._seconds.get(type(error))
        if seconds is None:
            return None
        said = [_name(type(error)), list(error.args), dict(vars(error))]
        try:
            if Value(said).copy() == said and _is_plain(said):
                made = self._made(said)
                if made is not None and str(made) == str(error):
                    return said, seconds
        except UnsupportedValue:
            pass
        self._memory.tally.notices.warn(
            f"not remembered {said[0]}",
            "loading %s raised %s, which is not remembered: its args and attributes are not plain JSON, or not all of it",
            key,
            said[0],
        )
        return None

    def recall(self, failure: Failure) -> Exception | None:
        """An error like the one that was kept; None where it is none of these."""
        return self._made(failure.said)

    def _made(self, said: Any) -> Exception | None:
        match said:
            case [str(name), list(args), dict(attributes)] if name in self._named:
                class_ = self._named[name]
            case _:
                return None
        # Not by its own `__init__`, whose parameters need not be its `args`.
        try:
            made = class_.__new__(class_, *args)
            if isinstance(made, OSError):
                OSError.__init__(made, *args)
        except Exception:  # it cannot be made so, or anybody wrote there
            return None
        made.__dict__.update(attributes)
        return made if type(made) is class_ else None


def remembered(memory: Backend, ttls: ErrorTtls | None) -> Errors | None:
    """The exceptions that a caller declares, found fit to be made anew.

    Raises:
        ConfigError: One is no class of exceptions, or keeps more than its `args` and attributes.
        InvalidTtl: As for `set`.
    """
    if not ttls:
        return None
    if not isinstance(ttls, Mapping):
        raise ConfigError(f"`errors` is a dict of exception classes and their ttl, not {type(ttls).__name__}")
    for class_ in ttls:
        if not isinstance(class_, type) or not issubclass(class_, Exception):
            raise ConfigError(f"`errors` takes classes derived from Exception, not {class_!r}")
        if _keeps_more(class_):
            raise ConfigError(
                f"`errors` cannot make a {class_.__qualname__} anew, since it keeps more than `args` and attributes: "
                "raise an exception of a class of your own instead"
            )
    errors = Errors(memory, ttls)
    if len(errors._named) < len(ttls):
        raise ConfigError("`errors` has two classes of the same module and name, which cannot be told apart")
    return errors


def _keeps_more(class_: type[Exception]) -> bool:
    """Whether there are slots, of its own or of those built in, or a way of its own to be made."""
    kept = any(
        isinstance(attribute, MemberDescriptorType)
        for base in class_.__mro__
        if base not in (BaseException, OSError)
        for attribute in vars(base).values()
    )
    return kept or isinstance(class_.__new__, FunctionType)


def _name(class_: type) -> str:
    return f"{class_.__module__}.{class_.__qualname__}"


def _is_plain(value: Any) -> bool:
    """Whether it comes back from JSON the same, type by type."""
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(each) for key, each in value.items())
    return value is None or type(value) in (str, int, float, bool)
