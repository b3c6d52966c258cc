"""The history: what each process says that it did, and when, by the monotonic clock that a machine's processes share.

Owns the form on disk: one file a life of a process, one JSON array a line, its first item naming what it is.

    ["r", begun, ended, key, version, way]              a read that yielded a version; `way` is the call that it used
    ["i", begun, ended, target, outcome, {key: version}]  an invalidation; the versions are those that every key it covers had
                                                          in the source before it began
    ["s", now, {name: count}]                           the counters of the cache, since the process began
    ["f", now, way, error]                              a call that failed though nothing it rests on may fail it
    ["a", now, bytes]                                   what is alive in the memory of a process that collects its garbage

A line goes out by one write, so whoever is killed leaves at most one torn line, its last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

__all__ = [
    *("FAILED", "OK", "QUEUED", "Alive", "Fault", "History", "Invalidation", "Log", "Part", "Read", "Records", "Tail"),
    *("language", "now"),
]

OK = "ok"
"""The invalidation had taken effect everywhere when it returned."""
QUEUED = "queued"
"""It holds in its own process, and is still to be sent to the others."""
FAILED = "failed"
"""It raised, and promises nothing."""

now = time.monotonic_ns


def language(process: str) -> str:
    """What a process is written in: it is named after its place in the fleet, its program and how often that was started."""
    return process.split("-")[1] if "-" in process else process


class Read(NamedTuple):
    """A read and the version that it yielded."""

    process: str
    begun: int
    ended: int
    key: str
    version: int
    way: str


class Invalidation(NamedTuple):
    """An invalidation and the versions that the source had when it began."""

    process: str
    begun: int
    ended: int
    target: str
    outcome: str
    versions: Mapping[str, int]


class Fault(NamedTuple):
    """A call that failed though it may not."""

    process: str
    at: int
    way: str
    error: str


class Alive(NamedTuple):
    """What was alive in the memory of a process once its garbage was collected, in bytes."""

    process: str
    at: int
    bytes: int


class Log:
    """What one process writes down."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def read(self, begun: int, ended: int, key: str, version: int, way: str) -> None:
        """A read that yielded a version."""
        os.write(self._file, f'["r",{begun},{ended},"{key}",{version},"{way}"]\n'.encode())

    def invalidation(self, begun: int, ended: int, target: str, outcome: str, versions: Mapping[str, int]) -> None:
        """An invalidation that came to an end."""
        self._say(["i", begun, ended, target, outcome, versions])

    def counters(self, counters: Mapping[str, int]) -> None:
        """The counters of the cache as they are now."""
        self._say(["s", now(), counters])

    def fault(self, way: str, error: BaseException) -> None:
        """A call that failed though it may not."""
        self._say(["f", now(), way, f"{type(error).__name__}: {error}"])

    def _say(self, record: list[Any]) -> None:
        os.write(self._file, (json.dumps(record) + "\n").encode())


class Records(Protocol):
    """What is checked: a whole history, or a part of one."""

    invalidations: list[Invalidation]
    """Every one that came to an end, well or badly."""
    faults: list[Fault]
    """Calls that failed though they may not."""
    counters: dict[str, dict[str, int]]
    """What each process counted last."""

    def reads(self) -> Iterable[Read]:
        """Every read that yielded a version."""


class History:
    """What the processes of a run wrote into a folder.

    Reads are many and are gone through as they lie on disk; the rest fits into memory.
    """

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.jsonl"))
        self.invalidations: list[Invalidation] = []
        self.faults: list[Fault] = []
        self.counters: dict[str, dict[str, int]] = {}
        for process, line in self._lines():
            if not line.startswith(_READ):
                _note(self, _record(process, line))

    def reads(self) -> Iterator[Read]:
        """Every read that yielded a version, process by process."""
        for process, line in self._lines():
            if line.startswith(_READ):
                record = _record(process, line)
                assert isinstance(record, Read)
                yield record

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        for path in self._files:
            with path.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):  # else its writer was killed at it
                        yield path.stem, line


@dataclass
class Part:
    """A part of a history, in memory."""

    read: list[Read] = field(default_factory=list)
    invalidations: list[Invalidation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    alive: list[Alive] = field(default_factory=list)

    def reads(self) -> list[Read]:
        """Its reads."""
        return self.read


class Tail:
    """A history while it is being written: gives out each part of it once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at: dict[Path, int] = {}
        self._waiting: list[Read | Invalidation] = []
        self._until = 0

    def part(self, until: int) -> Part:
        """What ended before a moment and was in no part yet, with all counters and faults that were written down.

        The moment has to lie so far back that all of it is on disk by now.

        Raises:
            ValueError: Something ended before the moment of the last part and was not on disk then.
        """
        part = Part()
        waiting, self._waiting = self._waiting, []
        for record in [*waiting, *self._new()]:
            if isinstance(record, Alive):
                part.alive.append(record)
            elif not isinstance(record, Read | Invalidation):
                _note(part, record)
            elif record.ended >= until:
                self._waiting.append(record)
            elif record.ended < self._until:
                raise ValueError(f"{record} was written down too late to be checked")
            elif isinstance(record, Read):
                part.read.append(record)
            else:
                part.invalidations.append(record)
        self._until = until
        return part

    def _new(self) -> Iterator[_Record]:
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as lines:
                lines.seek(self._at.get(path, 0))
                for line in lines:
                    if not line.endswith(b"\n"):  # its writer is at it
                        break
                    self._at[path] = self._at.get(path, 0) + len(line)
                    yield _record(path.stem, line)


class _Counted(NamedTuple):
    process: str
    at: int
    counters: dict[str, int]


_Record = Read | Invalidation | Fault | Alive | _Counted
_READ = b'["r"'
_KINDS: Mapping[str, type[_Record]] = {"r": Read, "i": Invalidation, "f": Fault, "a": Alive, "s": _Counted}


def _record(process: str, line: bytes) -> _Record:
    kind, *rest = json.loads(line)
    if kind not in _KINDS:
        raise ValueError(f"{process}: a record of unknown kind {kind!r}")
    return _KINDS[kind](process, *rest)


def _note(records: History | Part, record: _Record) -> None:
    if isinstance(record, Invalidation):
        records.invalidations.append(record)
    elif isinstance(record, Fault):
        records.faults.append(record)
    elif isinstance(record, _Counted):
        records.counters[record.process] = record.counters
