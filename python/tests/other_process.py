"""Another process of the tests, and what it is told to do with a cache on Redis.

    with OtherProcess(url, namespace) as other:
        other.ask("await cache.get('k')")

It runs each expression in an event loop of its own; `cache` is its cache, and `state` a dict that it keeps.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import subprocess
import sys
from types import TracebackType
from typing import Any

PATIENCE = 30.0


class OtherProcess:
    """A process that runs what it is asked, one thing after the other, unless it is told to `start` it."""

    def __init__(self, url: str, namespace: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, namespace], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, expression: str) -> None:
        """Has it run this, without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(expression) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What came of the eldest thing that was told."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the other process ended")
        outcome = json.loads(line)
        if "error" in outcome:
            raise AssertionError(f"elsewhere: {outcome['error']}")
        return outcome["value"]

    def ask(self, expression: str) -> Any:
        """What comes of this."""
        self.tell(expression)
        return self.answer()

    def kill(self) -> None:
        """Ends it without a word."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


async def _serve(url: str, namespace: str) -> None:
    from loaders import PATIENT

    from donjon import Cache

    loop = asyncio.get_running_loop()
    scope: dict[str, Any] = {
        "asyncio": asyncio,
        "cache": Cache.redis(url, namespace=namespace, early=0.0, **PATIENT),
        "state": {},
    }
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        try:
            code = compile(json.loads(line), "<asked>", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = eval(code, scope)
            if inspect.isawaitable(value):
                value = await value
            outcome = {"value": value}
        except Exception as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(outcome, default=repr) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
