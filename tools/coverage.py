"""Says how many lines of each part the tests run, out of what was found in each language, and writes `docs/coverage.md`.

python tools/coverage.py FOLDER [FAILED…]

FAILED are the steps in which tests failed, of which the page says that something may be missing.
Reads lcov, which all three tools write. Tests that stand under the Rust code are not counted as lines of it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
PARTS = {
    "core/src": "the core (Rust)",
    "native/src": "the crate for Rust, also used from Python",
    "python/src": "the extension of Python (Rust)",
    "python/python/donjon": "the package for Python",
    "wasm/ts": "the package for JavaScript (TypeScript)",
}
WORST = 12
TESTS = "#[cfg(test)]\nmod tests {"
TEST_FILES = ("tests.rs", "model.rs")


class Lines(NamedTuple):
    """Lines of a file that do something, and those of them that no test runs."""

    file: str
    lines: int
    left: list[int]


def read(records: Iterable[Path]) -> Iterator[Lines]:
    """The files of all records, without tests that stand in them."""
    run: dict[str, dict[int, int]] = defaultdict(dict)
    file = ""
    for line in chain.from_iterable(lcov.read_text().splitlines() for lcov in records):
        kind, _, said = line.partition(":")
        if kind == "SF":
            path = Path(said)
            file = str(path.relative_to(TOP) if path.is_relative_to(TOP) else path)
        elif kind == "DA":
            number, count = map(int, said.split(",")[:2])
            run[file][number] = run[file].get(number, 0) + count
    for file, counts in run.items():
        if file.startswith(tuple(PARTS)) and not file.endswith(TEST_FILES):
            code, tests, _ = (TOP / file).read_text().partition(TESTS)
            own = {number: count for number, count in counts.items() if not tests or number <= code.count("\n")}
            yield Lines(file, len(own), sorted(number for number, count in own.items() if count == 0))


def ranges(numbers: list[int]) -> str:
    """Line numbers, those in a row as one."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ", ".join(f"{row[0]}–{row[-1]}" if len(row) > 1 else str(row[0]) for row in rows)


def percent(lines: list[Lines]) -> float:
    """How many of a hundred lines are run."""
    count = sum(each.lines for each in lines)
    return 100 * (1 - sum(len(each.left) for each in lines) / count) if count else 0.0


def main() -> None:
    """Prints the figures, and the lines left out; writes the page."""
    found = list(read(sorted(Path(sys.argv[1]).glob("*/lcov.info"))))
    rows = ["| part | in | lines | run by tests |", "|---|---|---|---|"]
    worst = ["| file | lines | run by tests |", "|---|---|---|"]
    for folder, name in PARTS.items():
        those = [each for each in found if each.file.startswith(folder + "/")]
        rows.append(f"| {name} | `{folder}` | {sum(each.lines for each in those):,} | {percent(those):.1f} % |")
    for each in sorted(found, key=lambda each: len(each.left), reverse=True):
        if each.left:
            print(f"{each.file}: {ranges(each.left)}")
    for each in sorted(found, key=lambda each: len(each.left), reverse=True)[:WORST]:
        worst.append(f"| `{each.file}` | {each.lines:,} | {percent([each]):.1f} % |")
    print("\n" + "\n".join(rows))
    page = (TOP / "tools/coverage.md").read_text()
    failed = sys.argv[2:]
    missing = f"Tests failed meanwhile ({', '.join(failed)}), and what they would have run besides is missing.\n\n"
    page = page.replace("{failed}\n", missing if failed else "")
    for mark, table in (("{parts}", rows), ("{worst}", worst)):
        page = page.replace(mark, "\n".join(table))
    (TOP / "docs/coverage.md").write_text(page)


if __name__ == "__main__":
    main()
