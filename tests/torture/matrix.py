"""Runs the scenarios in both languages, prints who has which fault, and writes `docs/torture.md` out of `page.md`.

Owns how verdicts become a page. Must not know what a fault is, or how a library is asked.
"""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "torture.md"
FAULTS: dict[str, dict[str, str]] = json.loads((HERE / "faults.json").read_text())
NAMES = {"memory": "memory", "redis": "Redis", "near": "near"}

Found = list[dict[str, Any]]


def run(*command: str) -> Found:
    """What one language's scenarios came to, the parts of one library put together."""
    found: Found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    together: dict[str, dict[str, Any]] = {}
    for one in found:
        library = together.setdefault(one["name"], one)
        library["verdicts"] |= one["verdicts"]
        library["backends"] |= one["backends"]
    return list(together.values())


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(library: dict[str, Any], number: str) -> str:
    """The verdict over all of a library's backends."""
    by_backend = {backend: verdicts[number][0] for backend, verdicts in library["verdicts"].items()}
    failing = [NAMES.get(backend, backend) for backend, verdict in by_backend.items() if verdict == "fails"]
    holding = [backend for backend, verdict in by_backend.items() if verdict == "holds"]
    if failing:
        return "**fails**" + (f" ({', '.join(failing)})" if holding else "")
    return "holds" if holding else "–"


def matrix(found: Found) -> str:
    """One row a fault, donjon's backends each in a column, another library in one."""
    donjon, *others = found
    parts = [{**donjon, "verdicts": {backend: verdicts}} for backend, verdicts in donjon["verdicts"].items()]
    head = ["", *(f"donjon, {NAMES[backend]}" for backend in donjon["verdicts"])]
    head += [f"{other['name']} {other['version']}" for other in others]
    rows = [[f"T{n} {FAULTS[n]['name']}", *(cell(one, n) for one in [*parts, *others])] for n in FAULTS]
    return table(head, rows)


def seen(found: Found) -> str:
    """What each failure was, and what else was noticed."""
    rows = []
    for library in found:
        for number in FAULTS:
            notes: dict[str, list[str]] = {}
            for backend, verdicts in library["verdicts"].items():
                verdict, note = verdicts[number]
                if note and verdict in ("fails", "holds"):
                    notes.setdefault(("" if verdict == "fails" else "holds, but ") + note, []).append(backend)
            for note, backends in notes.items():
                rows.append([library["name"], f"T{number}", ", ".join(NAMES.get(one, one) for one in backends), note])
    return table(["library", "", "on", "what was seen"], rows)


def settings(found: Found) -> str:
    """How each library is set up."""
    rows = [
        [f"{library['name']} {library['version']}", NAMES.get(backend, backend), text]
        for library in found
        for backend, text in library["backends"].items()
    ]
    return table(["library", "", "as"], rows)


def said(*command: str) -> str:
    """The first line that a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]


def main() -> None:
    """Writes nothing where an adapter broke, or where donjon has a fault."""
    python = run(sys.executable, str(HERE / "run.py"))
    javascript = run("node", str(HERE / "js" / "run.mjs"))
    for library in python + javascript:
        for backend, verdicts in library["verdicts"].items():
            for number, (verdict, note) in verdicts.items():
                if verdict == "error" or (
                    library["name"] == "donjon" and (verdict == "fails" or (note and verdict == "holds"))
                ):
                    sys.exit(f"{library['name']}, {backend}, T{number}: {verdict}: {note}")
    faults = [[f"T{n}", one["fault"], one["instead"]] for n, one in FAULTS.items()]
    tables = {
        "python_matrix": matrix(python),
        "javascript_matrix": matrix(javascript),
        "faults": table(["", "the fault", "what donjon does instead"], faults),
        "seen": seen(python + javascript),
        "settings": settings(python + javascript),
    }
    server = shutil.which("redis-server") or "valkey-server"
    about = {
        "date": datetime.date.today().isoformat(),
        "python": f"Python {platform.python_version()}",
        "node": said("node", "--version").removeprefix("v"),
        "redis": " ".join(said(server, "--version").split()[:3]).replace(" server v=", " "),
    }
    page = (HERE / "page.md").read_text()
    for name, text in {**tables, **about}.items():
        page = page.replace("{" + name + "}", text)
    PAGE.write_text(page)
    print("\n\n".join([tables["python_matrix"], tables["javascript_matrix"], tables["seen"]]))


if __name__ == "__main__":
    main()
