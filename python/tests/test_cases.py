"""The cases that every runtime is held to, as data in `tests/cases`: Python comes to the same results."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from donjon import (
    ANY,
    Cache,
    ConfigError,
    InvalidKey,
    InvalidNamespace,
    InvalidTemplate,
    _donjon,
    _errors,
    key,
    pattern,
)

CASES = Path(__file__).parents[2] / "tests" / "cases"
CALLS = [case for path in (CASES / "calls").glob("*.json") for case in json.loads(path.read_text("utf-8"))["cases"]]
KEYS: dict[str, Any] = json.loads((CASES / "keys.json").read_text("utf-8"))
SETTINGS: dict[str, Any] = json.loads((CASES / "settings.json").read_text("utf-8"))
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


@pytest.mark.parametrize("case", SETTINGS["accepted"], ids=[case["name"] for case in SETTINGS["accepted"]])
def test_settings_say_what_they_say_everywhere(case: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    settings = _donjon.parse_settings(case["given"].items())
    for name, fact in case["says"].items():
        said = getattr(settings, name)
        assert (said | fact if isinstance(fact, dict) else fact) == said, name
    cache = Cache.from_env(case["given"])
    assert (cache.backend, cache.namespace, cache.enabled) == (settings.backend, settings.namespace, settings.enabled)
    assert len(caplog.messages) == len(case.get("warns", []))
    for warning, words in zip(caplog.messages, case.get("warns", []), strict=True):
        assert all(word in warning for word in words)
        assert "hunter2" not in warning


@pytest.mark.parametrize("case", SETTINGS["refused"], ids=lambda case: str(case["given"]))
def test_settings_that_cannot_be_are_refused_in_words_that_say_what_can(case: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        Cache.from_env(case["given"])
    assert all(word in str(refused.value) for word in case["words"])
    assert "hunter2" not in str(refused.value)


def test_each_call_has_a_case() -> None:
    done = json.dumps(CALLS)
    calls = {name for name in dir(Cache) if name[0] != "_" and inspect.isroutine(getattr(Cache, name))}
    elsewhere = "announce cached connect from_env get_hit_rate get_miss_rate get_size memory redis stats"
    assert {name for name in calls if f'"do": ["{name}"' not in done} == set(elsewhere.split())


def test_each_error_has_a_case() -> None:
    failed = {step["fails"] for case in CALLS for step in case["steps"] if "fails" in step}
    # `tests/cases/README.md` says where the rest are.
    elsewhere = "ConfigError InvalidNamespace InvalidTemplate UnsupportedValue DecodeError LoadTimeout"
    bases = "DonjonError LockError"
    assert failed - {"Down"} == set(_errors.__all__) - set(f"{elsewhere} {bases}".split())


def test_the_golden_envelopes_are_what_a_second_writer_makes_of_the_layout() -> None:
    # The writer shares no code with the core, whose own tests read and write the same bytes.
    writer = CASES.parent / "tools" / "envelope_vectors.py"
    written = subprocess.run([sys.executable, str(writer)], capture_output=True, check=True).stdout
    assert written == (CASES / "envelope.json").read_bytes()
