"""What a cache has to say to people: lines in the log `donjon`, one a minute of each kind."""

from __future__ import annotations

import logging
import time
from typing import Final

from ._errors import DecodeError

__all__ = ["Notices", "Tally", "logger", "notice"]

logger = logging.getLogger("donjon")

_QUIET_SECONDS: Final = 60.0
_MOST_KINDS: Final = 1_000


class Notices:
    """Warnings, of each kind no more than one a minute."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def warn(self, kind: str, message: str, *args: object) -> None:
        """Logs it, unless one of its kind was logged within the last minute."""
        now = time.monotonic()
        if now - self._last.get(kind, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            if len(self._last) >= _MOST_KINDS:
                self._last.clear()
            self._last[kind] = now
            logger.warning(message, *args)


class Tally:
    """What went wrong without hurting anybody."""

    def __init__(self) -> None:
        self.notices = Notices()
        self.reset()

    def reset(self) -> None:
        self.stale_on_error = 0
        self.undecodable_values = 0

    def served_stale(self, key: str, error: Exception) -> None:
        """Notes that a load failed and its caller got the stale value."""
        self.stale_on_error += 1
        self.notices.warn("stale", "loading %s failed with %s: serving the stale value", key, type(error).__name__)

    def undecodable(self, key: str, error: DecodeError) -> None:
        """Notes that a stored value was no valid one for its reader."""
        self.undecodable_values += 1
        self.notices.warn("undecodable", "%s: %s; treated as a miss", key, error)


_notices = Notices()


def notice(kind: str, text: str) -> None:
    """Hands on what the extension says; `kind` is where it says it.

    It says each trouble once, so another trouble from the same place is no repetition of the first.
    """
    _notices.warn(f"{kind} {text}", "%s", text)
