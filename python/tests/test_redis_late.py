"""What was sent on a connection that is no more can still arrive at Redis, and must do no harm when it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from donjon import Cache
from redis_server import RedisServer


class Way:
    """Loses the first connection on which something is said, as its client sees it, and keeps what was said for later."""

    def __init__(self, port: int, word: bytes) -> None:
        self._port = port
        self._word = word
        self._kept: tuple[asyncio.StreamWriter, bytes] | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def deliver(self) -> None:
        """What was kept arrives."""
        assert self._kept is not None
        writer, said = self._kept
        writer.write(said)
        await writer.drain()

    async def close(self) -> None:
        """Leaves no socket to the collector."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def handle(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [to_client, to_server]
        answers = asyncio.ensure_future(_forward(server, to_client))
        while said := await client.read(1 << 16):
            if self._word in said and self._kept is None:
                self._kept = (to_server, said)
                answers.cancel()
                to_client.transport.abort()
                return
            to_server.write(said)
        to_server.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1 << 16):
        writer.write(said)
    writer.close()


@asynccontextmanager
async def way(server: RedisServer, word: bytes) -> AsyncIterator[tuple[Way, str]]:
    losing = Way(server.port, word)
    listener = await asyncio.start_server(losing.handle, "127.0.0.1", 0)
    try:
        yield losing, f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await losing.close()


async def test_a_lease_that_was_asked_for_twice_is_not_brought_back_by_the_first_asking_after_an_invalidation(
    redis_server: RedisServer, namespace: str, foreign: redis.Redis
) -> None:
    name = f"{namespace}:k"
    async with way(redis_server, b"\r\nNX\r\n") as (losing, url), Cache.redis(url, namespace=namespace) as cache:

        async def load() -> str:
            claimed = foreign.get(name)
            assert foreign.unlink(name) == 1
            await losing.deliver()
            while (late := foreign.get(name)) is None:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.001)
            assert late != claimed
            return "of before"

        assert await cache.get_or_set("k", load) == "of before"
        assert await cache.get("k") is None
        assert cache.stats().loads_refused == 1
