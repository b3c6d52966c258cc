"""What an invalidation answers."""

from __future__ import annotations

__all__ = ["Removed"]


class Removed(int):
    """How many values left the cache.

    An invalidation has taken effect when it returns, unless `queued`: then the place that others read could not be
    reached, and the invalidation is sent before this process reads from there again. The memory backend never queues.

    Examples:
        >>> left = Removed(2)
        >>> left == 2, left.queued
        (True, False)
    """

    queued: bool = False
    """Whether the invalidation is still to be sent."""
