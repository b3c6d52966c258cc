"""Says whether an answer was older than it may be.

A change counts from the moment its request has returned. A read that began after that moment must not give an earlier
version. Versions only grow, so the lowest that a read may give is the highest of the changes that had returned by then.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(frozen=True)
class Read:
    """An answer about a subject: when it was asked for, and which version it showed."""

    subject: str
    begun: float
    version: float


@dataclass(frozen=True)
class Stale:
    read: Read
    known: float  # the version that it had to be, at least

    def __str__(self) -> str:
        return f"{self.read.subject}: version {self.read.version} was answered after {self.known} had been confirmed"


@dataclass
class History:
    """What was changed and read, as one client saw it."""

    reads: list[Read] = field(default_factory=list)
    _returned: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def changed(self, subject: str, version: float) -> None:
        """Note that a change's request has returned, now."""
        known = self._returned[subject]
        highest = max(version, known[-1][1]) if known else version
        known.append((monotonic(), highest))

    def read(self, subject: str, begun: float, version: float) -> None:
        self.reads.append(Read(subject, begun, version))

    @property
    def changes(self) -> int:
        return sum(map(len, self._returned.values()))

    def stale(self, reads: Iterable[Read] | None = None) -> list[Stale]:
        """The reads that were too old."""
        return [
            Stale(read, known)
            for read in (self.reads if reads is None else reads)
            if read.version < (known := self.known(read))
        ]

    def races(self) -> int:
        """How many reads had to show a change that returned within the 50 ms before they began: those that could fail."""
        return sum(self._changed_shortly_before(read) for read in self.reads)

    def known(self, read: Read) -> float:
        """The version that had been confirmed when the read began."""
        returned = self._returned[read.subject]
        place = bisect_left(returned, (read.begun,))
        return returned[place - 1][1] if place else float("-inf")

    def _changed_shortly_before(self, read: Read) -> bool:
        returned = self._returned[read.subject]
        place = bisect_left(returned, (read.begun,))
        return place > 0 and returned[place - 1][0] > read.begun - 0.05
