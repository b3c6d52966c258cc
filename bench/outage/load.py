"""Load on the application: reads and changes at a fixed rate each; what came back, when, and how old it was.

A call is sent when its time has come, whether those before it were answered or not, and its latency counts from then: a halt of
the server shows in every call that it delays. A document has one change at a time, so that it is known which version was confirmed.
An answer is as old as the first change that it does not show and that had been confirmed when the read was sent.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic

import aiohttp

DOCUMENTS = 20


@dataclass(frozen=True)
class Call:
    """A call that was answered, or was not: when it was due and how long it took, in seconds."""

    at: float
    took: float
    failed: bool
    stale: float = 0.0
    """By how many seconds the answer was too old; 0 where it was not."""


@dataclass
class Seen:
    """What a run saw."""

    reads: list[Call] = field(default_factory=list)
    changes: list[Call] = field(default_factory=list)


class Load:
    """Reads and changes of a few documents."""

    def __init__(self, session: aiohttp.ClientSession, seed: int) -> None:
        self.seen = Seen()
        self._session = session
        self._random = random.Random(seed)
        self._ids: list[int] = []
        # Of each document, in order: when a version had been confirmed, and which.
        self._confirmed: dict[int, list[tuple[float, int]]] = defaultdict(list)

    async def prepare(self) -> None:
        """Makes the documents."""
        async with self._session.post("/api/v1/users", json={"name": "Load", "email": "load@example.org"}) as answer:
            owner = (await answer.json())["id"]
        for number in range(DOCUMENTS):
            new = {"user_id": owner, "title": f"Document {number}", "content": "A text of no importance. " * 20}
            async with self._session.post("/api/v1/documents", json=new) as answer:
                self._ids.append((await answer.json())["id"])

    async def read_on(self, rate: float, end: float) -> None:
        """Reads so many times a second until the end."""
        async with asyncio.TaskGroup() as group:
            async for due in _at_a_rate(rate, end):
                group.create_task(self._read(self._random.choice(self._ids), due))

    async def change_on(self, rate: float, end: float) -> None:
        """Changes so many times a second until the end, as long as there are documents that are not being changed."""
        free = set(self._ids)
        async with asyncio.TaskGroup() as group:
            async for due in _at_a_rate(rate, end):
                if free:
                    document = self._random.choice(sorted(free))
                    free.remove(document)
                    changing = group.create_task(self._change(document, due))
                    changing.add_done_callback(lambda _, document=document: free.add(document))

    async def _read(self, document: int, due: float) -> None:
        try:
            async with self._session.get(f"/api/v1/documents/{document}") as answer:
                answer.raise_for_status()
                version = (await answer.json())["version"]
        except (aiohttp.ClientError, TimeoutError):
            self.seen.reads.append(Call(due, monotonic() - due, failed=True))
            return
        self.seen.reads.append(Call(due, monotonic() - due, failed=False, stale=self._stale(document, version, due)))

    def _stale(self, document: int, version: int, begun: float) -> float:
        confirmed = self._confirmed[document]
        first_unseen = bisect_left(confirmed, version + 1, key=lambda change: change[1])
        return max(0.0, begun - confirmed[first_unseen][0]) if first_unseen < len(confirmed) else 0.0

    async def _change(self, document: int, due: float) -> None:
        try:
            async with self._session.put(f"/api/v1/documents/{document}", json={"title": f"At {due:.3f}"}) as answer:
                answer.raise_for_status()
                version = (await answer.json())["version"]
        except (aiohttp.ClientError, TimeoutError):
            self.seen.changes.append(Call(due, monotonic() - due, failed=True))
            return
        end = monotonic()
        self._confirmed[document].append((end, version))
        self.seen.changes.append(Call(due, end - due, failed=False))


async def _at_a_rate(rate: float, end: float) -> AsyncIterator[float]:
    """The moments at which something is due, each once it has come."""
    due = monotonic()
    while due < end:
        await asyncio.sleep(due - monotonic())
        yield due
        due += 1 / rate
