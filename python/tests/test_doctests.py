"""The examples in the documentation of the package, and what it shows to the world."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import donjon

MODULES = ["donjon", *(f"donjon.{module.name}" for module in pkgutil.iter_modules(donjon.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_package_is_typed() -> None:
    assert (Path(donjon.__path__[0]) / "py.typed").exists()


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("._donjon")])
def test_what_a_module_lists_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    if name != "donjon":
        assert all(hasattr(module, listed) for listed in module.__all__)
