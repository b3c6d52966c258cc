"""The unrest of a cluster: slots move with their keys, replicas take over, nodes freeze and connections break, at random moments.

A replica takes over when it is told to, having caught up: what a primary that crashes had told nobody is lost, and nothing is promised
of it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

from fleet import Fleet
from redis_cluster import RedisCluster
from redis_server import RedisServer

__all__ = ["Unrest"]

REST = (0.05, 0.3)
FREEZE = (0.05, 0.4)
STALL = (2.2, 3.5)
OPEN = (0.05, 0.5)
"""Seconds that a slot stays open while some of its keys have gone."""
DEEDS = {"move": 12, "leave open": 4, "hand over": 2, "cut": 6, "freeze": 4, "kill": 6, "stall": 3, "forget scripts": 1}


class Unrest:
    """Does all that until the run is over."""

    def __init__(self, cluster: RedisCluster, names: Sequence[str], fleet: Fleet, seed: int) -> None:
        self.done: Counter[str] = Counter()
        """What it did, and how often."""
        self._cluster = cluster
        self._names = names
        self._fleet = fleet
        self._chance = random.Random(f"{seed}/unrest")

    def run(self, over: threading.Event) -> None:
        """One deed after another."""
        while not over.wait(self._chance.uniform(*REST)):
            deed = self._chance.choices(list(DEEDS), list(DEEDS.values()))[0]
            self._do(deed)
            self.done[deed] += 1

    def _do(self, deed: str) -> None:
        cluster, name = self._cluster, self._chance.choice(self._names)
        if deed == "move":
            cluster.move(name)
        elif deed == "leave open":
            cluster.move(name, rest=self._chance.uniform(*OPEN))
        elif deed == "hand over":
            cluster.hand_over(cluster.owner(name))
        elif deed == "kill":
            self._fleet.kill_one(self._chance)
        elif deed == "stall":
            self._fleet.stall_one(self._chance, self._chance.uniform(*STALL))
        else:
            self._harm(deed, cluster.owner(name))

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
