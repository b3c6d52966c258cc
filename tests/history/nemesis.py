"""The nemesis: breaks connections, freezes and restarts the server, kills and stalls processes, at random moments."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping

import redis

from fleet import Fleet
from redis_server import RedisServer

__all__ = ["DEEDS", "Nemesis"]

REST = (0.1, 0.5)
FREEZE = (0.05, 0.4)
STALL = (2.2, 3.5)
"""Longer than a lease lasts that is not renewed."""
STARVE = (0.05, 0.3)
STARVED = 150_000
"""Bytes too few: with some policies about half of all keys go."""
DEEDS = {"cut": 10, "cut all": 2, "freeze": 8, "kill": 8, "stall": 4, "forget scripts": 2, "starve": 2, "restart": 1}
STRANGERS = {f"stranger:{number}": number for number in range(4000)}
"""Keys that are in nobody's way, and among which a sweep takes more than one step."""


class Nemesis:
    """Does harm until the run is over, each deed as often among all as it is weighed."""

    def __init__(self, server: RedisServer, fleet: Fleet, seed: int, deeds: Mapping[str, int] = DEEDS) -> None:
        self.done: Counter[str] = Counter()
        """What it did, and how often."""
        self._server = server
        self._fleet = fleet
        self._chance = random.Random(f"{seed}/nemesis")
        self._deeds = deeds

    def run(self, over: threading.Event) -> None:
        """Does one thing after another, and leaves nothing frozen."""
        with self._server.client() as client:
            while not over.wait(self._chance.uniform(*REST)):
                deed = self._chance.choices(list(self._deeds), list(self._deeds.values()))[0]
                self._do(deed, client)
                self.done[deed] += 1
                if not client.exists("stranger:0"):
                    client.mset(STRANGERS)

    def _do(self, deed: str, client: redis.Redis) -> None:
        if deed == "cut":
            others = [each["id"] for each in client.client_list() if each["cmd"] != "client|list"]
            for victim in self._chance.sample(others, min(3, len(others))):
                client.client_kill_filter(_id=victim, skipme=True)
        elif deed == "cut all":
            client.client_kill_filter(_type="normal", skipme=True)
        elif deed == "freeze":
            self._server.pause()
            try:
                time.sleep(self._chance.uniform(*FREEZE))
            finally:
                self._server.resume()
        elif deed == "kill":
            self._fleet.kill_one(self._chance)
        elif deed == "stall":
            self._fleet.stall_one(self._chance, self._chance.uniform(*STALL))
        elif deed == "starve":
            client.config_set("maxmemory-policy", self._chance.choice(["noeviction", "allkeys-random"]))
            client.config_set("maxmemory", client.info("memory")["used_memory"] - STARVED)
            time.sleep(self._chance.uniform(*STARVE))
            client.config_set("maxmemory", "0")
        elif deed == "restart":
            self._server.restart()
        else:
            client.script_flush()
