"""Prints the entity tag that a process of its own gives to `/a`: NAME BACKEND URL NAMESPACE."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import httpx

from libraries import LIBRARIES


async def main(name: str, backend: str, url: str, namespace: str) -> None:
    """Asks twice, as what the miss says and what the hit says are one."""
    library = next(one for one in LIBRARIES if one.name == name and backend in one.backends)
    server: Any = SimpleNamespace(url=url)
    cache = library(backend, server, namespace)
    await cache.open()
    async with cache.app() as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await client.get("/a")
            print((await client.get("/a")).headers["etag"])
    await cache.close()


asyncio.run(main(*sys.argv[1:]))
