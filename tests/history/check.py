"""The checker: proves a history coherent, or shows the reads that refute it.

The promise: a read that begins after an invalidation returned never yields what was loaded before that invalidation began.
Versions only grow and a loader returns the one that it saw, so this is a comparison: the version that a read yields is at
least the one that the source had when the invalidation began. No search is needed, and a run of any length is checked in
one pass over its reads. Who checks it while it is written forgets what no read can be held to any more.

An invalidation that was queued binds the reads of its own process only, and one that failed binds nobody.

A read that memory in front of Redis may answer, by a way that begins with one of the words of `BOUNDS`, is allowed to be as late as
stands there, but for what its own process invalidated. How late the latest of them was is in the report.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from history import OK, QUEUED, Invalidation, Read, Records, language

__all__ = ["ACTS", "BOUNDS", "LEAST", "Checker", "Report", "Stale", "check"]

LEAST = {"loads_refused": 100, "takeovers": 50, "overlapping": 1000}
"""A run with less of these tried too little to prove anything."""

ACTS = (
    *("get_or_set", "get_or_set_many", "force_refresh", "lookup", "get", "get_many"),
    *("key", "keys", "pattern", "tag", "clear"),
    *("loads_refused", "takeovers"),
)
"""Each language has to have done each of these: read so, invalidated so with effect, and been at one end of the races between."""

BOUNDS = {"near": 2_000_000_000, "timed": 1_000_000_000}
"""Nanoseconds by which a read from memory may be behind what other processes have invalidated: where Redis tells, and where nobody
does, which is the time that such a process states."""

_SHOWN = 10


class Stale(NamedTuple):
    """A read that yielded what was invalidated before it began."""

    read: Read
    invalidation: Invalidation

    def __str__(self) -> str:
        read, past = self.read, self.invalidation
        return (
            f"{read.key}: {read.process} read version {read.version} by {read.way} in [{read.begun}, {read.ended}], "
            f"{_ms(read.begun - past.ended)} after {past.process} had invalidated {past.target} at version "
            f"{past.versions[read.key]} in [{past.begun}, {past.ended}] ({past.outcome})"
        )


@dataclass
class Report:
    """What a history shows."""

    acts: dict[str, Counter[str]] = field(default_factory=dict)
    """What each of the languages did that had to take part, by the names of `ACTS`."""
    reads: Counter[str] = field(default_factory=Counter)
    """Reads that yielded a version, by the call used."""
    invalidations: Counter[str] = field(default_factory=Counter)
    """Invalidations by kind and outcome."""
    overlapping: int = 0
    """Reads during which an invalidation of their key was under way."""
    counters: Counter[str] = field(default_factory=Counter)
    """What the caches counted, summed over all processes."""
    stale: list[Stale] = field(default_factory=list)
    """The reads that refute the promise, the first few."""
    stale_reads: int = 0
    """How many there were."""
    late: int = 0
    """By how many nanoseconds the worst of them was late."""
    behind: Counter[str] = field(default_factory=Counter)
    """How many reads from memory were late within their bound, as they may be."""
    furthest: Counter[str] = field(default_factory=Counter)
    """By how many nanoseconds the latest of them was."""
    oldest: int = 0
    """How long ago, in nanoseconds, an invalidation of what a read yielded had begun at most. Legal while one ran or the read did."""
    slowest: int = 0
    """How many nanoseconds a read took at most."""
    faults: Counter[str] = field(default_factory=Counter)
    """Calls that failed though they may not."""
    deeds: Counter[str] = field(default_factory=Counter)
    """What was done to the servers and the processes meanwhile."""

    def note(self, process: str, act: str, times: int = 1) -> None:
        """Counts what a process did, if its language had to."""
        if act in ACTS and (acts := self.acts.get(language(process))) is not None:
            acts[act] += times

    def add(self, later: Report) -> None:
        """Takes in what the next part of the same history shows."""
        for who, acts in later.acts.items():
            self.acts[who].update(acts)
        self.reads.update(later.reads)
        self.invalidations.update(later.invalidations)
        self.faults.update(later.faults)
        self.overlapping += later.overlapping
        self.stale_reads += later.stale_reads
        self.behind.update(later.behind)
        self.stale = [*self.stale, *later.stale][:_SHOWN]
        self.late = max(self.late, later.late)
        self.furthest |= later.furthest
        self.oldest = max(self.oldest, later.oldest)
        self.slowest = max(self.slowest, later.slowest)

    @property
    def shortfalls(self) -> list[str]:
        """What this run did too little of to prove anything."""
        had = {**self.counters, "overlapping": self.overlapping}
        few = [
            f"{name}: {had.get(name, 0)} of at least {least}"
            for name, least in LEAST.items()
            if had.get(name, 0) < least
        ]
        return few + [f"{who}: no {act}" for who, acts in self.acts.items() for act in ACTS if not acts[act]]

    def __str__(self) -> str:
        lines = [
            f"{self.reads.total()} reads: {_listed(self.reads)}",
            f"{self.invalidations.total()} invalidations: {_listed(self.invalidations)}",
            f"{self.overlapping} reads overlapped an invalidation of their key",
            f"counted by the caches: {_listed(self.counters)}",
            f"oldest value served: {_ms(self.oldest)} after its invalidation began; slowest read: {_ms(self.slowest)}",
        ]
        lines += [
            f"{self.behind[word]} {word} reads were behind another process, the furthest by {_ms(self.furthest[word])} "
            f"of {_ms(bound)} that they may be"
            for word, bound in BOUNDS.items()
            if any(_word(way) == word for way in self.reads)
        ]
        lines += [f"{who}: {_listed(acts)}" for who, acts in self.acts.items()]
        lines += [f"FAULT {times} times: {fault}" for fault, times in self.faults.most_common(_SHOWN)]
        if self.stale_reads:
            lines.append(f"{self.stale_reads} STALE READS, the worst {_ms(self.late)} late")
            lines += [f"  {stale}" for stale in self.stale]
        else:
            lines.append("no stale read")
        return "\n".join(lines)


def check(history: Records, languages: Iterable[str] = ()) -> Report:
    """Goes through a history, in which each of the languages has to have done everything."""
    checker = Checker(languages)
    checker.take(history)
    return checker.end()


class Checker:
    """Goes through a history part by part. What ended in one ended before all that did in the next."""

    def __init__(self, languages: Iterable[str] = ()) -> None:
        self._whole = Report(acts={each: Counter() for each in languages})
        self._everyone: dict[str, list[Invalidation]] = {}
        self._own: dict[tuple[str, str], list[Invalidation]] = {}
        self._ended: dict[str, list[Invalidation]] = {}
        self._counted: dict[str, Mapping[str, int]] = {}
        self._since = 0

    def take(self, part: Records) -> Report:
        """Checks the next part, and says what that shows by itself.

        Raises:
            ValueError: A read began before what was forgotten, and so cannot be checked.
        """
        report = Report(acts={each: Counter() for each in self._whole.acts})
        for invalidation in part.invalidations:
            self._note(invalidation, report)
        self._counted.update(part.counters)
        report.faults.update(f"{fault.way}: {fault.error}" for fault in part.faults)
        self._read(part.reads(), report)
        self._whole.add(report)
        return report

    def forget(self, before: int) -> None:
        """Gives up what ended before a moment, but for what the reads that begin later are held to by it."""
        self._since = before
        for key, those in self._everyone.items():
            self._everyone[key] = _kept(key, those, before)
        for (process, key), those in self._own.items():
            self._own[process, key] = _kept(key, those, before)
        for key, those in self._ended.items():
            self._ended[key] = [each for each in those if each.ended >= before]

    @property
    def remembered(self) -> int:
        """How many invalidations reads can still be held to, counted for each key."""
        return sum(len(those) for kept in (self._everyone, self._own, self._ended) for those in kept.values())

    def end(self) -> Report:
        """What all parts show together."""
        for process, counters in self._counted.items():
            self._whole.counters.update(counters)
            for name, count in counters.items():
                self._whole.note(process, name, count)
        return self._whole

    def _note(self, invalidation: Invalidation, report: Report) -> None:
        kind = _word(invalidation.target)
        report.invalidations[f"{kind} {invalidation.outcome}"] += 1
        if invalidation.outcome == OK:
            report.note(invalidation.process, kind)
        for key in invalidation.versions:
            self._ended.setdefault(key, []).append(invalidation)
            if invalidation.outcome == OK:
                self._everyone.setdefault(key, []).append(invalidation)
            if invalidation.outcome in (OK, QUEUED):
                self._own.setdefault((invalidation.process, key), []).append(invalidation)

    def _read(self, reads: Iterable[Read], report: Report) -> None:
        required = {key: _Floor(key, those) for key, those in self._everyone.items()}
        required_here = {(process, key): _Floor(key, those) for (process, key), those in self._own.items()}
        spans = {key: _Spans(key, those) for key, those in self._ended.items()}
        for read in reads:
            if read.begun < self._since:
                raise ValueError(
                    f"{read.process} read {read.key} for {_ms(read.ended - read.begun)}: too long to check"
                )
            report.reads[read.way] += 1
            report.note(read.process, read.way)
            report.slowest = max(report.slowest, read.ended - read.begun)
            if (span := spans.get(read.key)) is not None:
                report.overlapping += span.meet(read)
                report.oldest = max(report.oldest, span.age(read))
            by_all, allowed = required.get(read.key), 0
            word = _word(read.way)
            if word in BOUNDS and by_all is not None and (missed := by_all.broken_by(read)) is not None:
                allowed = BOUNDS[word]
                report.behind[word] += 1
                report.furthest[word] = max(report.furthest[word], read.begun - missed.ended)
            for floor, late in ((by_all, allowed), (required_here.get((read.process, read.key)), 0)):
                if (
                    floor is not None
                    and (broken := floor.broken_by(read._replace(begun=read.begun - late))) is not None
                ):
                    report.stale_reads += 1
                    report.late = max(report.late, read.begun - broken.ended)
                    if len(report.stale) < _SHOWN:
                        report.stale.append(Stale(read, broken))
                    break


class _Floor:
    """The least version that a read of one key may yield, by when it begins."""

    def __init__(self, key: str, invalidations: Iterable[Invalidation]) -> None:
        self._from: list[int] = []
        self._by: list[Invalidation] = []
        self._key = key
        for invalidation in sorted(invalidations, key=lambda each: each.ended):
            if not self._by or invalidation.versions[key] > self._by[-1].versions[key]:
                self._from.append(invalidation.ended)
                self._by.append(invalidation)

    def broken_by(self, read: Read) -> Invalidation | None:
        """The first invalidation that had returned before the read began, and whose version it does not reach."""
        past = bisect_left(self._from, read.begun)
        if not past or self._by[past - 1].versions[self._key] <= read.version:
            return None
        return self._by[bisect_right(self._by, read.version, hi=past, key=lambda each: each.versions[self._key])]


class _Spans:
    """When invalidations of one key were under way."""

    def __init__(self, key: str, invalidations: list[Invalidation]) -> None:
        self._begun = sorted(each.begun for each in invalidations)
        self._ended = sorted(each.ended for each in invalidations)
        self._rising: list[tuple[int, int]] = []  # versions and when the first invalidation that knew of them began
        for begun, version in sorted((each.begun, each.versions[key]) for each in invalidations):
            if not self._rising or version > self._rising[-1][0]:
                self._rising.append((version, begun))

    def meet(self, read: Read) -> bool:
        """Whether one of them and the read had a moment in common."""
        return bisect_right(self._begun, read.ended) > bisect_left(self._ended, read.begun)

    def age(self, read: Read) -> int:
        """How long before the read ended an invalidation began that knew of a later version than it yielded; 0 for none."""
        later = bisect_right(self._rising, (read.version, 1 << 63))
        return max(0, read.ended - self._rising[later][1]) if later < len(self._rising) else 0


def _word(way: str) -> str:
    return way.partition(" ")[0]


def _kept(key: str, invalidations: list[Invalidation], since: int) -> list[Invalidation]:
    """Those that ended since then, and of the earlier ones that which demands most."""
    earlier = [each for each in invalidations if each.ended < since]
    most = sorted(earlier, key=lambda each: each.versions[key])[-1:]
    return most + [each for each in invalidations if each.ended >= since]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"
