"""What dogpile.cache asks of every backend, by its own suite: over memory and over Redis.

Nothing that it asks is refused. What it stores is bytes, as that is what its serializers make; the pickle that it would take where
it is told of none is not donjon's to read or to write.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import dogpile_backend  # noqa: F401
from dogpile.testing.fixtures import _GenericBackendTestSuite, _GenericMutexTestSuite, _GenericSerializerTestSuite
from loaders import PATIENT

from donjon import Cache
from redis_server import RedisServer


class _Over:
    """The cache that a class of the suite runs over."""

    region_args: ClassVar[Any] = {"serializer": lambda value: json.dumps(value).encode(), "deserializer": json.loads}

    @classmethod
    def open(cls, cache: Cache) -> None:
        cls.config_args: Any = {"arguments": {"cache": cache}}


class _OverMemory(_Over):
    backend = "donjon.memory"

    @classmethod
    def setup_class(cls) -> None:
        cls.open(Cache.memory())


class _OverRedis(_Over):
    backend = "donjon.redis"

    @classmethod
    def setup_class(cls) -> None:
        cls.server = RedisServer().__enter__()
        cls.open(Cache.redis(cls.server.url, **PATIENT))

    @classmethod
    def teardown_class(cls) -> None:
        cls.server.__exit__(None, None, None)


class TestMemory(_OverMemory, _GenericSerializerTestSuite, _GenericBackendTestSuite):
    pass


class TestMemoryMutex(_OverMemory, _GenericMutexTestSuite):
    pass


class TestRedis(_OverRedis, _GenericSerializerTestSuite, _GenericBackendTestSuite):
    pass


class TestRedisMutex(_OverRedis, _GenericMutexTestSuite):
    pass
