"""What a cache has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["CacheStats"]


@dataclass(frozen=True)
class CacheStats:
    """A reading of the counters. Every look-up counts once, as a hit, a stale hit or a miss.

    Examples:
        >>> stats = CacheStats(hits=3, misses=1)
        >>> stats.hit_rate, stats.miss_rate
        (0.75, 0.25)
    """

    hits: int = 0
    """Look-ups answered by a fresh value."""
    misses: int = 0
    """Look-ups that found nothing usable."""
    stale: int = 0
    """Look-ups answered by a value past its time to live, within its grace."""
    memory_hits: int = 0
    """Look-ups answered by memory in front of Redis; `hits` and `stale` count them, too."""
    entries: int = 0
    """Values kept now, in this process."""
    bytes: int = 0
    """What they weigh, keys and bookkeeping included."""
    loads: int = 0
    """Loads that came to an end, well or badly."""
    load_seconds: float = 0.0
    """Time spent in loads that ended with a value."""
    load_failures: int = 0
    """Loads whose loader raised."""
    loads_refused: int = 0
    """Loads whose value was not stored, since something was invalidated while they ran."""
    stale_on_error: int = 0
    """Failed loads whose caller got a stale value instead of the error."""
    undecodable: int = 0
    """Stored values that were no valid ones for their reader, and were loaded anew."""
    flights: int = 0
    """Loads under way now."""
    stores: int = 0
    """Values stored, by a load or by hand."""
    evictions: int = 0
    """Values that left for want of room."""
    expirations: int = 0
    """Values that left because their time was over."""
    invalidations: int = 0
    """Values that left because somebody said so."""
    replacements: int = 0
    """Values that another took the place of."""
    too_large: int = 0
    """Values not stored because they are larger than the cache takes."""

    takeovers: int = 0
    """Loads taken over from a holder that is gone, or of a value that a tag had made dead. Of the redis backend."""
    foreign: int = 0
    """Look-ups that met what is not ours to replace. Of the redis backend."""
    faults: int = 0
    """Commands that failed. Of the redis backend."""
    queued: int = 0
    """Invalidations that Redis has not confirmed yet. Of the redis backend."""
    coherence: str | None = None
    """What memory in front of Redis is worth: "tracking", "fallback", "suspect" or "off"; None where there is none."""
    last_push: float | None = None
    """Seconds since Redis last told this process of a change; None before the first time."""

    @classmethod
    def of(cls, counted: Mapping[str, Any], **more: Any) -> CacheStats:
        """A reading from the core's counters and those of this layer."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in counted.items() if name in known}, **more)

    @property
    def hit_rate(self) -> float:
        """The share of look-ups answered by a value, stale ones among them; 0.0 before the first look-up."""
        return (self.hits + self.stale) / self._lookups if self._lookups else 0.0

    @property
    def miss_rate(self) -> float:
        """The share of look-ups that found nothing; 0.0 before the first look-up."""
        return self.misses / self._lookups if self._lookups else 0.0

    @property
    def _lookups(self) -> int:
        return self.hits + self.stale + self.misses
