"""The cases that every runtime is held to, as data in `tests/cases`: Python comes to the same results."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from donjon import ANY, Cache, InvalidKey, InvalidNamespace, InvalidTemplate, _donjon, key, pattern

CASES = Path(__file__).parents[2] / "tests" / "cases"
KEYS: dict[str, Any] = json.loads((CASES / "keys.json").read_text("utf-8"))
GLOB: dict[str, Any] = json.loads((CASES / "glob.json").read_text("utf-8"))

# How the core says what the cases say in a word.
WORDS = {"empty": "empty|at least one part", "too long": "at most 1024 bytes"}


def test_namespaces_are_checked_as_everywhere() -> None:
    for name in KEYS["namespaces"]["valid"]:
        assert Cache.memory(namespace=name).namespace == name
    for name in KEYS["namespaces"]["invalid"]:
        with pytest.raises(InvalidNamespace):
            Cache.memory(namespace=name)


def test_keys_are_made_of_parts_as_everywhere() -> None:
    for case in KEYS["keys"]:
        if "error" in case:
            with pytest.raises(InvalidKey, match=WORDS[case["error"]]):
                key(*case["parts"])
        else:
            assert key(*case["parts"]) == case["key"]
    for case in KEYS["parts"]:
        assert key("x", case["part"]) == "x:" + case["escaped"]


def test_patterns_are_made_of_parts_as_everywhere() -> None:
    for case in KEYS["patterns"]:
        assert pattern(*(ANY if part is None else part for part in case["parts"])) == case["pattern"]


def test_templates_are_rendered_as_everywhere() -> None:
    for case in KEYS["templates"]:
        template = _donjon.Template(case["template"])
        assert list(template.names) == case["names"]
        if "missing" in case:
            with pytest.raises(InvalidTemplate, match=case["missing"]):
                template.render(case["values"])
        else:
            assert template.render(case["values"]) == case["key"]
        assert template.pattern(case["values"]) == case["pattern"]
    for case in KEYS["invalid_templates"]:
        with pytest.raises(InvalidTemplate):
            _donjon.Template(case["template"])


def test_globs_match_as_a_redis_server_says_they_do() -> None:
    assert len(GLOB["patterns"]) > 200
    for case in GLOB["patterns"]:
        matched = [at for at, text in enumerate(GLOB["texts"]) if _donjon.glob_matches(case["pattern"], text)]
        assert matched == case["matches"], case["pattern"]


def test_the_golden_envelopes_are_what_a_second_writer_makes_of_the_layout() -> None:
    # The writer shares no code with the core, whose own tests read and write the same bytes.
    writer = CASES.parent / "tools" / "envelope_vectors.py"
    written = subprocess.run([sys.executable, str(writer)], capture_output=True, check=True).stdout
    assert written == (CASES / "envelope.json").read_bytes()
