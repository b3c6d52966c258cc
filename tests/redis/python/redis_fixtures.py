"""Real Redis servers for pytest: one for the whole run with a namespace for each test, and some of a test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from redis_proxy import Proxy
from redis_server import RedisServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server that all tests share: keep to `namespace`, and leave it running and unchanged."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def foreign(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the shared server that knows nothing of donjon, its replies in bytes."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def own_server() -> Iterator[Callable[..., RedisServer]]:
    """Starts a server of this test's own, with the arguments of `RedisServer`, to be paused, killed or filled."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(RedisServer(**settings))


@pytest.fixture
def proxy_to() -> Iterator[Callable[[RedisServer], Proxy]]:
    """Puts a way on which things go wrong before a server."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(Proxy(server.port))
