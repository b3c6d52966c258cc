"""The unrest of many servers: primaries change, nodes freeze and connections break, at random moments.

A replica takes over when it is told to, having caught up: what a primary that crashes had told nobody is lost, and nothing is promised
of it.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from fleet import Fleet
from redis_cluster import RedisCluster, RedisSentinels
from redis_server import RedisServer

__all__ = ["OfACluster", "OfSentinels", "Unrest"]

REST = (0.05, 0.3)
FREEZE = (0.05, 0.4)
STALL = (2.2, 3.5)
OPEN = (0.05, 0.5)
"""Seconds that a slot stays open while some of its keys have gone."""


class Unrest(ABC):
    """Does all that until the run is over."""

    deeds: ClassVar[Mapping[str, int]]
    """What is done, and how often each among all."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.done: Counter[str] = Counter()
        """What it did, and how often."""
        self._fleet = fleet
        self._chance = random.Random(f"{seed}/unrest")

    def run(self, over: threading.Event) -> None:
        """One deed after another: each of them once, and then by chance."""
        first = self._chance.sample(list(self.deeds), len(self.deeds))
        while not over.wait(self._chance.uniform(*REST)):
            deed = first.pop() if first else self._chance.choices(list(self.deeds), list(self.deeds.values()))[0]
            self._do(deed)
            self.done[deed] += 1

    def _do(self, deed: str) -> None:
        if deed == "kill":
            self._fleet.kill_one(self._chance)
        elif deed == "stall":
            self._fleet.stall_one(self._chance, self._chance.uniform(*STALL))
        else:
            self._harm(deed, self._server())

    @abstractmethod
    def _server(self) -> RedisServer:
        """One that processes talk to."""

    def _harm(self, deed: str, server: RedisServer) -> None:
        if deed == "freeze":
            server.pause()
            try:
                time.sleep(self._chance.uniform(*FREEZE))
            finally:
                server.resume()
        elif deed == "cut":
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
        else:
            server.ask("SCRIPT", "FLUSH")


class OfACluster(Unrest):
    """Slots move with their keys, and replicas take over."""

    deeds: ClassVar[Mapping[str, int]] = {
        "move": 12,
        "leave open": 4,
        "hand over": 2,
        "cut": 6,
        "freeze": 4,
        "kill": 6,
        "stall": 3,
        "forget scripts": 1,
    }

    def __init__(self, cluster: RedisCluster, names: Sequence[str], fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self._cluster = cluster
        self._names = names

    def _do(self, deed: str) -> None:
        if deed == "move":
            self._cluster.move(self._name())
        elif deed == "leave open":
            self._cluster.move(self._name(), rest=self._chance.uniform(*OPEN))
        elif deed == "hand over":
            self._cluster.hand_over(self._server())
        else:
            super()._do(deed)

    def _server(self) -> RedisServer:
        return self._cluster.owner(self._name())

    def _name(self) -> str:
        return self._chance.choice(self._names)


class OfSentinels(Unrest):
    """The primary goes, and one of its replicas takes over."""

    deeds: ClassVar[Mapping[str, int]] = {
        "hand over": 2,
        "cut": 6,
        "freeze": 4,
        "kill": 6,
        "stall": 3,
        "forget scripts": 1,
    }

    def __init__(self, watched: RedisSentinels, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet, seed)
        self._watched = watched

    def _do(self, deed: str) -> None:
        if deed == "hand over":
            self._watched.hand_over()
        else:
            super()._do(deed)

    def _server(self) -> RedisServer:
        return self._watched.primary()
