"""The history test: the promise holds over a minute of it, and the same harness finds out code that does not keep it."""

from __future__ import annotations

import random
from pathlib import Path

import run


def seed() -> int:
    return random.SystemRandom().randrange(1 << 32)


def test_cache_aside_by_hand_is_found_out(tmp_path: Path) -> None:
    report = run.run(run.NAIVE, 8, seed(), tmp_path / "run")
    assert report.stale_reads > 0
    assert report.overlapping >= 1000
