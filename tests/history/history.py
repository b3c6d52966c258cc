"""The history: what each process says that it did, and when, by the monotonic clock that a machine's processes share.

Owns the form on disk: one file a life of a process, one JSON array a line, its first item naming what it is.

    ["r", begun, ended, key, version, way]              a read that yielded a version; `way` is the call that it used
    ["i", begun, ended, target, outcome, {key: version}]  an invalidation; the versions are those that every key it covers had
                                                          in the source before it began
    ["s", now, {name: count}]                           the counters of the cache, since the process began
    ["f", now, way, error]                              a call that failed though nothing it rests on may fail it

A line goes out by one write, so whoever is killed leaves at most one torn line, its last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FAILED", "OK", "QUEUED", "Fault", "History", "Invalidation", "Log", "Read", "language", "now"]

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


class History:
    """What the processes of a run wrote into a folder.

    Reads are many and are gone through as they lie on disk; the rest fits into memory.
    """

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.jsonl"))
        self.invalidations: list[Invalidation] = []
        """Every one that came to an end, well or badly."""
        self.faults: list[Fault] = []
        """Calls that failed though they may not."""
        self.counters: dict[str, dict[str, int]] = {}
        """What each process counted last."""
        for process, line in self._lines():
            if not line.startswith(b'["r"'):
                self._note(process, json.loads(line))

    def reads(self) -> Iterator[Read]:
        """Every read that yielded a version, process by process."""
        for process, line in self._lines():
            if line.startswith(b'["r"'):
                _, begun, ended, key, version, way = json.loads(line)
                yield Read(process, begun, ended, key, version, way)

    def _note(self, process: str, record: list[Any]) -> None:
        kind, *rest = record
        if kind == "i":
            self.invalidations.append(Invalidation(process, *rest))
        elif kind == "s":
            self.counters[process] = rest[1]
        elif kind == "f":
            self.faults.append(Fault(process, *rest))
        else:
            raise ValueError(f"{process}: a record of unknown kind {kind!r}")

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        for path in self._files:
            with path.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):  # else its writer was killed at it
                        yield path.stem, line
