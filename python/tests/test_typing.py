"""What type checkers make of typical uses: the parameters and the result of a cached function are its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

USES = Path(__file__).parent / "typing" / "uses.py"
LINES = USES.read_text("utf-8").splitlines()


def expected(comment: str) -> dict[int, str]:
    """What the comments of that kind say, by the number of the line."""
    found = ((number, line.partition(f"# {comment}")) for number, line in enumerate(LINES, 1))
    return {number: rest.strip() for number, (_, mark, rest) in found if mark}


def plain(said: str) -> str:
    """A type as a reader would write it: without modules, defaults and what a type consists of; a union in one order."""
    said = re.sub(r"[\w.]+\.(\w+)", r"\1", said)
    said = re.sub(r"TypedDict\((\w+), \{[^}]*\}\)", r"\1", said)
    said = re.sub(r"tuple\[.*, fallback=(\w+)\]", r"\1", said)
    said = re.sub(r"\[\[(.*?)\], ", r"[(\1), ", said)
    said = re.sub(r" = ?\w*(?=[,)])", "", said)
    return " | ".join(sorted(said.split(" | "))) if "|" in said and "(" not in said else said


def by_mypy() -> tuple[dict[int, str], set[int]]:
    """What is revealed, and which lines are found wrong."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--no-incremental",
        "--no-error-summary",
        "--output=json",
    ]
    ran = subprocess.run([*command, str(USES)], check=False, capture_output=True, text=True, cwd=USES.parent)
    revealed, wrong = {}, set()
    for line in ran.stdout.splitlines():
        said = json.loads(line)
        found = re.match(r'Revealed type is "(.*)"', said["message"])
        if found:
            revealed[said["line"]] = found[1]
        elif said["severity"] == "error":
            wrong.add(said["line"])
    return revealed, wrong


def by_pyright() -> tuple[dict[int, str], set[int]]:
    """As `by_mypy`."""
    command = [sys.executable, "-m", "pyright", "--outputjson", f"--pythonpath={sys.executable}", str(USES)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=USES.parent)
    revealed, wrong = {}, set()
    for said in json.loads(ran.stdout)["generalDiagnostics"]:
        line = said["range"]["start"]["line"] + 1
        found = re.match(r'Type of ".*" is "(.*)"', said["message"])
        if found:
            revealed[line] = found[1]
        elif said["severity"] == "error":
            wrong.add(line)
    return revealed, wrong


@pytest.mark.timeout(600)
@pytest.mark.parametrize("checker", [by_mypy, by_pyright])
def test_a_type_checker_sees_through_the_cache(checker: object) -> None:
    assert callable(checker)
    revealed, wrong = checker()
    told = {number: plain(said) for number, said in revealed.items()}
    assert told == {number: plain(said) for number, said in expected("is ").items()}
    assert wrong == set(expected("wrong"))
