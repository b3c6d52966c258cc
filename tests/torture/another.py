"""A process of its own that does its part of a scenario: WHAT LIBRARY BACKEND URL NAMESPACE.

`tag` prints the entity tag that it gives to `/a`; `load` says that it is ready, and after a line of input how many loads ran in it.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import httpx

from libraries import LIBRARIES
from library import Library
from scenarios import together_in_two


async def tag(cache: Library) -> str:
    """Asks twice, as what the miss says and what the hit says are one."""
    async with cache.app() as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await client.get("/a")
            return str((await client.get("/a")).headers["etag"])


async def load(cache: Library) -> int:
    """Begins when the other process does."""
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return await together_in_two(cache)


async def main(what: str, name: str, backend: str, url: str, namespace: str) -> None:
    """Opens the library as the scenario did."""
    library = next(one for one in LIBRARIES if one.name == name and backend in one.backends)
    server: Any = SimpleNamespace(url=url, port=int(url.rpartition(":")[2] or 0)) if url else None
    cache = library(backend, server, namespace)
    await cache.open()
    print(await {"tag": tag, "load": load}[what](cache))
    await cache.close()


asyncio.run(main(*sys.argv[1:]))
