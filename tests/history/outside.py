"""Whoever invalidates without donjon: `redis-cli`, which unlinks names, sweeps with SCAN and empties the database."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path

from history import FAILED, OK, Log, now
from plan import Plan
from source import Source

__all__ = ["Outside"]

REST = (0.02, 0.3)
TARGETS = {"unlink": 12, "sweep": 6, "flush": 1}


class Outside:
    """Writes and invalidates by hand until the run is over."""

    def __init__(self, port: int, plan: Plan, folder: Path) -> None:
        self._command = ["redis-cli", "-p", str(port)]
        self._plan = plan
        self._source = Source(Path(plan.source), plan.keys)
        self._log = Log(folder / "redis-cli.jsonl")
        self._chance = random.Random(f"{plan.seed}/outside")

    def run(self, over: threading.Event) -> None:
        """One invalidation after another."""
        while not over.wait(self._chance.uniform(*REST)):
            self._invalidate(self._chance.choices(list(TARGETS), list(TARGETS.values()))[0])

    def _invalidate(self, kind: str) -> None:
        if kind == "unlink":
            names = self._chance.sample(list(self._plan.keys), 2)
            covered = names
        elif kind == "sweep":
            names = [self._chance.choice(list(self._plan.patterns))]
            covered = self._plan.patterns[names[0]]
        else:
            names, covered = [], list(self._plan.keys)
        self._source.write(self._chance.choice(covered))
        versions = {key: self._source.version(key) for key in covered}
        begun = now()
        outcome = OK if self._carry_out(kind, names) else FAILED
        self._log.invalidation(begun, now(), f"redis-cli {kind} {' '.join(names)}", outcome, versions)

    def _carry_out(self, kind: str, names: list[str]) -> bool:
        if kind == "sweep":
            found = self._ask("--scan", "--pattern", self._name(names[0]))
            if found is None:
                return False
            lines = found.split()
            return not lines or self._ask("UNLINK", *lines) is not None
        if kind == "unlink":
            return self._ask("UNLINK", *map(self._name, names)) is not None
        return self._ask("FLUSHDB") is not None

    def _ask(self, *words: str) -> str | None:
        """What the server answers; None where it refused or could not be reached."""
        done = subprocess.run([*self._command, "-e", *words], capture_output=True, text=True, check=False)
        return None if done.returncode or done.stderr else done.stdout

    def _name(self, key: str) -> str:
        return f"{self._plan.namespace}:{key}"
