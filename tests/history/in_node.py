"""A process in Node with memory in front of Redis, which does what it is told: `node/near.mjs`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

__all__ = ["NODE", "PATIENT", "Node", "eventually"]

NODE = Path(__file__).parent / "node/near.mjs"
PATIENT: dict[str, Any] = {"connect_timeout": 10.0, "command_timeout": 10.0}
DEADLINE = 20.0


class Node:
    """A process in Node, and its cache."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, name: str, *about: object) -> Any:
        """What a call gives."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *about]).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE)
        assert line, "the process in Node ended"
        return json.loads(line)

    async def kept(self, key: str) -> Any:
        """What its memory has, once it has it: what is just being told keeps an answer out."""
        value = None

        async def has() -> bool:
            nonlocal value
            await self.ask("get", key)
            value = await self.ask("peek", key)
            return value is not None

        await eventually(has)
        return value

    async def served(self, value: object) -> None:
        """Waits until a value is that of `k` to it."""

        async def is_it() -> bool:
            return bool(await self.ask("get", "k") == value)

        await eventually(is_it)

    async def gone(self, key: str) -> None:
        """Waits until its memory has it no more."""

        async def has_not() -> bool:
            return await self.ask("peek", key) is None

        await eventually(has_not)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + DEADLINE
    while not await holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        await asyncio.sleep(0.001)
