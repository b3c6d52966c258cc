"""The source of truth that every process of the history test loads from: a counter a key, the version of its row.

A key is a file, and its version is the length of that file: a write appends one byte. So any process may write, in any
language, without a lock; versions only grow; and a process that is killed leaves nothing half done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Source"]


class Source:
    """The rows of some keys, kept in a folder that all processes share."""

    def __init__(self, folder: Path, keys: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._rows = {key: os.open(folder / key, how, 0o600) for key in keys}

    def version(self, key: str) -> int:
        """What a query sees now."""
        return os.fstat(self._rows[key]).st_size

    def write(self, key: str) -> None:
        """Commits a new version."""
        os.write(self._rows[key], b".")

    def close(self) -> None:
        """Gives the files back."""
        for row in self._rows.values():
            os.close(row)
        self._rows.clear()
