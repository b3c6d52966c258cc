"""The floor: Redis spoken by hand over one connection, with nothing that a client needs besides.

No time-out, no reconnection, no decoding, no envelope. It is as fast as Python on this event loop can speak to this server, so a
client's share of it says how much of the time goes to the client's own work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

PAGE = 1_000
"""How many keys a SCAN looks at."""

_GET = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n"


class Floor(asyncio.Protocol):
    """One connection; replies belong to futures in the order of the commands."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._rest = b""
        self._unsent: list[bytes] = []

    @classmethod
    async def connect(cls, port: int) -> Floor:
        """Opens the connection."""
        _, floor = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return floor

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end, waiting = 0, len(data), self._waiting
        while at < end:
            # A bulk string, the answer to GET, is read here: a call for each would show.
            if data[at] == 36:
                line = data.find(b"\r\n", at)
                if line < 0:
                    break
                size = int(data[at + 1 : line])
                stop = line + 2 + size
                if stop + 2 > end:
                    break
                reply: Any = data[line + 2 : stop] if size >= 0 else None
                at = stop + 2 if size >= 0 else line + 2
            else:
                try:
                    reply, at = parsed(data, at)
                except IndexError:
                    break
            future = waiting.popleft()
            if not future.done():
                future.set_result(reply)
        self._rest = data[at:]

    def get(self, key: str) -> asyncio.Future[bytes | None]:
        """GET."""
        name = key.encode()
        return self._send(_GET % (len(name), name))

    def ask(self, *parts: bytes) -> asyncio.Future[Any]:
        """Any command."""
        return self._send(command(parts))

    def _send(self, text: bytes) -> asyncio.Future[Any]:
        """Writes at once where nothing is under way, else once for all that run in this turn of the loop."""
        future = self._loop.create_future()
        if self._unsent:
            self._unsent.append(text)
        elif self._waiting:
            self._unsent.append(text)
            self._loop.call_soon(self._flush)
        else:
            self._write(text)
        self._waiting.append(future)
        return future

    def _flush(self) -> None:
        self._write(b"".join(self._unsent))
        self._unsent.clear()

    async def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """MGET."""
        found: list[bytes | None] = await self.ask(b"MGET", *(key.encode() for key in keys))
        return found

    async def set_many(self, items: Mapping[str, bytes], ttl: int) -> None:
        """A SET for each, sent together."""
        seconds = b"%d" % ttl
        futures = [self.ask(b"SET", key.encode(), value, b"EX", seconds) for key, value in items.items()]
        for future in futures:
            await future

    async def invalidate(self, pattern: str) -> int:
        """Each page of keys is unlinked while the next one is looked for."""
        cursor, removed, unlinking = b"0", 0, []
        while True:
            cursor, names = await self.ask(b"SCAN", cursor, b"MATCH", pattern.encode(), b"COUNT", b"%d" % PAGE)
            if names:
                unlinking.append(self.ask(b"UNLINK", *names))
            if cursor == b"0":
                break
        for reply in unlinking:
            removed += await reply
        return removed


def command(parts: Iterable[bytes]) -> bytes:
    """A command as Redis reads it."""
    parts = tuple(parts)
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def parsed(data: bytes, at: int) -> tuple[Any, int]:
    """The reply that begins at `at`, and where the next one does; IndexError if it is not all there."""
    line = data.find(b"\r\n", at)
    if line < 0:
        raise IndexError
    kind, text, after = data[at], data[at + 1 : line], line + 2
    if kind == 36:
        size = int(text)
        if size < 0:
            return None, after
        if after + size + 2 > len(data):
            raise IndexError
        return data[after : after + size], after + size + 2
    if kind == 42:
        replies = []
        for _ in range(int(text)):
            reply, after = parsed(data, after)
            replies.append(reply)
        return replies, after
    if kind == 45:
        raise RuntimeError(text.decode())
    return int(text) if kind == 58 else text, after
