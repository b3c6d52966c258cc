"""Checks the house: imports run downward, and the core knows no runtime.

The floors of the core are the table at the top of `core/src/lib.rs`, upper floors first; a module that the table does not
name lies below them all. A module may use those of its own floor and of lower ones, never a higher one, and never in a circle.
"""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

CORE = Path("core/src")
RUNTIMES = {"tokio", "async-std", "mio", "pyo3", "redis", "wasm-bindgen", "js-sys", "getrandom", "rand"}


def floors() -> dict[str, int]:
    """The floor of each module that the table names, counted from the top."""
    rows = [line for line in (CORE / "lib.rs").read_text().splitlines() if line.startswith("//! |")]
    return {name: floor for floor, row in enumerate(rows) for name in re.findall(r"`(\w+)`", row)}


def imports() -> dict[str, set[str]]:
    """Which modules of the core each module names, its tests left out: they may look anywhere."""
    modules = set(re.findall(r"^(?:pub )?(?:pub\(crate\) )?mod (\w+);", (CORE / "lib.rs").read_text(), re.MULTILINE))
    found: dict[str, set[str]] = {module: set() for module in modules}
    for path in CORE.rglob("*.rs"):
        module = path.relative_to(CORE).parts[0].removesuffix(".rs")
        if module not in modules or path.stem.endswith("tests"):
            continue
        text = re.split(r"^#\[cfg\(test\)\]\s*(?:pub )?mod ", path.read_text(), flags=re.MULTILINE)[0]
        code = "\n".join(line.split("//")[0] for line in text.splitlines())
        named = set(re.findall(r"\bcrate::(\w+)", code))
        for group in re.findall(r"\bcrate::\{([^;]*)\}", code):
            named |= set(re.findall(r"(?:^|[,{]\s*)(\w+)", re.sub(r"\{[^{}]*\}", "", group)))
        found[module] |= (named & modules) - {module}
    return found


def faults() -> list[str]:
    """What is wrong, a line each."""
    floor, used = floors(), imports()
    lowest = max(floor.values(), default=0) + 1
    found = [
        f"core/src/{module}.rs uses `{other}`, which lies above it in the table of core/src/lib.rs"
        for module, others in sorted(used.items())
        for other in sorted(others)
        if floor.get(other, lowest) < floor.get(module, lowest)
    ]
    try:
        TopologicalSorter(used).prepare()
    except CycleError as circle:
        found.append("modules of the core use each other in a circle: " + " → ".join(circle.args[1]))
    tree = subprocess.run(
        ["cargo", "tree", "--package", "donjon-core", "--edges", "normal", "--prefix", "none", "--target", "all"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    crates = {line.split()[0] for line in tree.splitlines() if line}
    found += [f"donjon-core depends on {name}, which only a runtime may know" for name in sorted(crates & RUNTIMES)]
    if "donjon-core" not in crates:
        found.append("`cargo tree` said nothing of donjon-core")
    return found


if __name__ == "__main__":
    wrong = faults()
    print("\n".join(wrong) or "the core knows no runtime, and its modules use none above them")
    sys.exit(bool(wrong))
