"""How many processes serve beside this one, as far as that can be seen from here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath

__all__ = ["worker_count"]


def worker_count(environment: Mapping[str, str] | None = None, command: Sequence[str] | None = None) -> int:
    """How many worker processes the server was told to start, as far as its usual ways of being told show; else 1.

    Examples:
        >>> worker_count({"WEB_CONCURRENCY": "4"}, ["uvicorn", "app:app"])
        4
        >>> worker_count({}, ["/usr/bin/gunicorn", "-w", "2", "app:app"])
        2
    """
    environment = os.environ if environment is None else environment
    command = sys.argv if command is None else command
    told = [environment.get("WEB_CONCURRENCY", "")]
    if command:
        # A worker that was spawned has its parent's command line; `python -m uvicorn` shows its package's file.
        program = PurePath(command[0])
        servers = {"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi"}
        if servers & {program.stem, program.parent.name}:
            for option, following in zip(command[1:], [*command[2:], ""], strict=True):
                if option in ("-w", "--workers"):
                    told.append(following)
                elif option.startswith(("-w", "--workers=")):
                    told.append(option.removeprefix("--workers=").removeprefix("-w"))
    return max((int(count) for count in told if count.isdecimal()), default=1)
