"""The libraries that are here: donjon, and of the others those that are installed."""

from __future__ import annotations

import importlib

from libraries.on_donjon import Donjon
from library import Library

LIBRARIES: list[type[Library]] = [Donjon]

for module, name in [
    ("on_cashews", "Cashews"),
    ("on_aiocache", "Aiocache"),
    ("on_fastapi_cache", "FastapiCache"),
    ("on_dogpile", "Dogpile"),
    ("on_moka", "Moka"),
    ("on_moka", "MokaTasks"),
    ("on_cachebox", "Cachebox"),
    ("on_cachebox", "CacheboxByHand"),
]:
    try:
        LIBRARIES.append(getattr(importlib.import_module(f"libraries.{module}"), name))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("libraries"):
            raise
