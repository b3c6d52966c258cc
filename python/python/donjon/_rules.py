"""Invalidation rules: which event makes which keys, patterns and tags invalid."""

from __future__ import annotations

from collections.abc import Iterable

from ._backend import Backend

__all__ = ["Rules"]


class Rules:
    """The rules of one cache; `emit` runs them."""

    def __init__(self, memory: Backend) -> None:
        self._memory = memory

    def on(
        self, event: str, *, keys: Iterable[str] = (), patterns: Iterable[str] = (), tags: Iterable[str] = ()
    ) -> None:
        """From now on, `event` invalidates these.

        Args:
            event: Its name, such as `document.updated`; `job.*` stands for every event of jobs.
            keys: Keys; `{id}` stands for what the event says of `id`, escaped.
            patterns: As for `invalidate_pattern`; what is put in is matched literally.
            tags: As for `invalidate_tags`.

        Raises:
            InvalidRule: A template in it cannot be read, or nothing would be invalidated.

        Examples:
            >>> from donjon import Cache
            >>> cache = Cache.memory()
            >>> cache.rules.on("document.updated", keys=["document:{id}"], patterns=["documents:*summary*"])
        """
        self._memory.on(event, keys, patterns, tags)
