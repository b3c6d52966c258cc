"""Times to live: what a caller may write for one, and how it is told to the core.

Owns the spellings that only Python has (`timedelta`, `FOREVER`). What a text means, and the limits that every runtime
shares, are the core's.
"""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum
from typing import Final

from ._errors import InvalidTtl

__all__ = ["FOREVER", "Forever", "Span", "Ttl", "grace_span", "span"]


class Forever(Enum):
    """The type of `FOREVER`."""

    FOREVER = "forever"

    def __repr__(self) -> str:
        return "donjon.FOREVER"


FOREVER: Final = Forever.FOREVER
"""The time to live of what leaves only by eviction or invalidation."""

Ttl = int | float | timedelta | str | Forever
"""Seconds, a `timedelta`, a text such as "5m", the name of a TTL class, or `FOREVER`."""

Span = float | str | None
"""How the core takes a time to live. Only here does `math.inf` mean for ever."""


def span(ttl: Ttl | None) -> Span:
    """A time to live as the core takes it; None, the default, stays None.

    Raises:
        InvalidTtl: Not a number, a `timedelta`, a text or `FOREVER`; a bool; NaN or infinite. The core refuses the rest.

    Examples:
        >>> from datetime import timedelta
        >>> span(timedelta(minutes=5)), span(60), span("stats"), span(None)
        (300.0, 60, 'stats', None)
        >>> span(True)
        Traceback (most recent call last):
        donjon._errors.InvalidTtl: a ttl is seconds, a timedelta, text such as "5m", or FOREVER, not bool
    """
    kind = type(ttl)
    if ttl is None or kind is int or kind is str:
        return ttl  # type: ignore[return-value]
    if ttl is FOREVER:
        return math.inf
    if isinstance(ttl, timedelta):
        return ttl.total_seconds()
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float, str)):
        raise InvalidTtl(f'a ttl is seconds, a timedelta, text such as "5m", or FOREVER, not {kind.__name__}')
    if isinstance(ttl, float) and not math.isfinite(ttl):
        raise InvalidTtl(f"a ttl of {ttl} has no end: write donjon.FOREVER where that is meant")
    return ttl


def grace_span(grace: Ttl | None) -> Span:
    """As `span`, where zero means none: a grace may be nothing, a time to live may not."""
    return None if type(grace) in (int, float) and grace == 0 else span(grace)
