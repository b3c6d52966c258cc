"""Says how many faults made on purpose the tests of the core notice, and writes `docs/mutants.md`.

python tools/mutants.py FOLDER

The folder has one for each part of the core, with what cargo-mutants left behind of two runs: of all faults of the part, and of those again
that the first did not notice.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def named(folder: Path, runs: str, outcome: str) -> list[str]:
    """The faults that came to this in these runs of all parts."""
    files = sorted(folder.glob(f"*/{runs}/{outcome}.txt"))
    return [line for file in files for line in file.read_text().splitlines()]


def by_file(names: list[str]) -> Counter[str]:
    """How many there are in each file."""
    return Counter(name.partition(":")[0] for name in names)


def main() -> None:
    """Prints the figures and what survived; writes the page."""
    folder = Path(sys.argv[1])
    first, second = "mutants.out.old", "mutants.out"
    endless = named(folder, first, "timeout") + named(folder, second, "timeout")
    survived = named(folder, second, "missed")
    noticed = named(folder, first, "caught") + named(folder, second, "caught")
    refused = named(folder, first, "unviable") + named(folder, second, "unviable")
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
