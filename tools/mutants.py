"""Says how many faults made on purpose the tests of the core notice, and writes `docs/mutants.md`.

python tools/mutants.py FIRST SECOND

Takes what cargo-mutants left behind of two runs: of all faults, and of those again that the first did not notice.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def named(run: Path, outcome: str) -> list[str]:
    """The faults that came to this in a run."""
    return (run / f"{outcome}.txt").read_text().splitlines()


def by_file(names: list[str]) -> Counter[str]:
    """How many there are in each file."""
    return Counter(name.partition(":")[0] for name in names)


def main() -> None:
    """Prints the figures and what survived; writes the page."""
    first, second = map(Path, sys.argv[1:])
    endless = named(second, "timeout")
    survived = named(second, "missed")
    noticed = named(first, "caught") + named(second, "caught")
    refused = named(first, "unviable") + named(second, "unviable")
    columns = [by_file(names) for names in (noticed, endless, survived, refused)]
    rows = ["| file | noticed | never ended | survived | does not compile |", "|---|---|---|---|---|"]
    for file in sorted({file for column in columns for file in column}):
        rows.append(f"| `{file}` | " + " | ".join(str(column[file]) for column in columns) + " |")
    rows.append("| all | " + " | ".join(str(column.total()) for column in columns) + " |")
    listed = "\n".join(survived) or "none"
    print("\n".join(rows) + "\n\n" + listed)
    page = (TOP / "tools/mutants.md").read_text().replace("{table}", "\n".join(rows)).replace("{survived}", listed)
    (TOP / "docs/mutants.md").write_text(page)


if __name__ == "__main__":
    main()
