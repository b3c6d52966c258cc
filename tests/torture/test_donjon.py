"""donjon under its own list of faults, on each of its backends: none of them is there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from libraries.on_donjon import Donjon
from library import NoSuchThing, World
from redis_server import RedisServer
from scenarios import SCENARIOS

# What a backend has nothing of: memory shares nothing, and Redis alone has no memory in front of it.
NOTHING = {"memory": {6, 10, 14, 16, 18, 19}, "redis": {6, 10, 16}, "near": set[int]()}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("backend", NOTHING)
@pytest.mark.parametrize("number", SCENARIOS, ids=lambda number: f"t{number}")
async def test_the_fault_is_not_there(number: int, backend: str, server: RedisServer) -> None:
    world = World(Donjon, backend, None if backend == "memory" else server, f"t{number}-{uuid.uuid4().hex[:8]}")
    try:
        if number in NOTHING[backend]:
            with pytest.raises(NoSuchThing):
                await SCENARIOS[number](world)
        else:
            assert await SCENARIOS[number](world) is None
    finally:
        await world.close()
