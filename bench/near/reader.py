"""A reader: asks its cache for the number again and again, and notes when it changed.

A process of its own. It writes a line once it has read, and runs until its standard input ends; then it writes, in JSON, for each
number that it saw when it had last asked and still been given an older one, in nanoseconds of the machine's monotonic clock, and how
often it asked. Between two reads it gives the processor back for a fifth of a millisecond, in which its event loop stands still.
"""

from __future__ import annotations

import asyncio
import json
import select
import sys
import time

import uvloop

from .clients import CLIENTS

PAUSE = 0.000_2


async def watch(name: str, port: int) -> None:
    """Reads until there is nobody any more who wants to know."""
    read = await CLIENTS[name](port)
    seen: list[tuple[int, int]] = []
    last, asked_before, reads = int(await read()), time.monotonic_ns(), 0
    print(flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        asked = time.monotonic_ns()
        try:
            found = await read()
        except Exception:  # while the server is away, each client fails in its own way
            found = None
        reads += 1
        if found is not None:
            number = int(found)
            if number > last:
                seen.append((number, asked_before))
                last = number
            asked_before = asked
        time.sleep(PAUSE)  # noqa: ASYNC251 (a timer of the loop would be five times as coarse)
        # Once for what the selector finds, once more for what that wakes.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    print(json.dumps({"seen": seen, "reads": reads, "last": [last, asked_before]}), flush=True)


if __name__ == "__main__":
    uvloop.run(watch(sys.argv[1], int(sys.argv[2])))
