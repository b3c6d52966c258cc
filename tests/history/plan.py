"""What the processes of a run have in common: where to go, which keys there are, and what patterns and tags cover.

Written as JSON by the harness and read by workers in every language, so that none of them judges patterns for itself.
The keys are few and the invalidations many: what is looked for happens where they meet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Key", "Plan"]


@dataclass(frozen=True)
class Key:
    """How one key is stored, by every process alike."""

    ttl: float
    grace: float
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A run, as its workers have to know it."""

    url: str
    namespace: str
    source: str
    """The folder of the source."""
    seed: int
    tasks: int
    """Tasks in each process."""
    rest: float
    """Seconds that a task rests at most between two calls."""
    writes: float
    """The share of calls that write and invalidate."""
    passing: float
    """The share of calls that read a key which nobody reads again."""
    failing: float
    """The share of loads that fail."""
    leaving: float
    """The share of callers that go away while they wait, as clients do."""
    keys: dict[str, Key]
    patterns: dict[str, list[str]]
    """The keys that each pattern matches."""
    tags: dict[str, list[str]]
    """The keys that are stored with each tag."""

    @classmethod
    def of(cls, url: str, source: Path, seed: int, namespace: str = "history") -> Plan:
        """The plan that every run follows."""
        kinds = {"a": (60.0, 0.0), "b": (0.3, 2.0), "c": (5.0, 0.0)}  # lasting; soon stale, within grace; untagged
        keys = {}
        for kind, (ttl, grace) in kinds.items():
            for number in range(8):
                labels = [f"third-{number % 3}"] * (kind != "c") + ["even"] * (kind == "a" and number % 2 == 0)
                keys[f"{kind}:{number}"] = Key(ttl, grace, tuple(labels))
        covers = {
            "a:*": [key for key in keys if key[0] == "a"],
            "[bc]:[0-3]": [key for key in keys if key[0] in "bc" and key[2] in "0123"],
            "?:5": [key for key in keys if key[2] == "5"],
            "c:[^67]": [key for key in keys if key[0] == "c" and key[2] not in "67"],
        }
        tags = {tag: [key for key in keys if tag in keys[key].tags] for key in keys for tag in keys[key].tags}
        return cls(
            url=url,
            namespace=namespace,
            source=str(source),
            seed=seed,
            tasks=12,
            rest=0.02,
            writes=0.06,
            passing=0.1,
            failing=0.02,
            leaving=0.03,
            keys=keys,
            patterns=covers,
            tags=tags,
        )

    def save(self, path: Path) -> None:
        """Writes the plan where the workers find it."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan that the harness wrote."""
        said = json.loads(path.read_text())
        said["keys"] = {name: Key(key["ttl"], key["grace"], tuple(key["tags"])) for name, key in said["keys"].items()}
        return cls(**said)
