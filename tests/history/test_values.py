"""What Python stores Node reads as it was, and the other way round: a value of every kind, over one Redis."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from pathlib import Path
from typing import Any

from donjon import Cache
from redis_server import RedisServer

NODE = Path(__file__).parent / "node/values.mjs"


def nested(depth: int) -> Any:
    """A number within lists and objects by turns."""
    value: Any = 7
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return value


# By the names that they have in `values.mjs`.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "zero below": -0.0,
    "number": -42,
    "largest whole number": 2**53 - 1,
    "whole number beyond": 2**53 + 1,
    "64 bits": -(2**63),
    "64 bits without a sign": 2**64 - 1,
    "fraction": 0.1,
    "whole fraction": 5.0,
    "large": 1.7976931348623157e308,
    "small": 5e-324,
    "exponent": 1e21,
    "empty text": "",
    "text": 'Zoë said: "\\" /\b\f\n\r\t',
    "any letters": "\u0000\u001f\u007f\u0080\u2028\u2029\ufeff\uffff",
    "beyond the plane": "🦀\U0010ffff",
    "empty list": [],
    "list": [None, True, 1, "a", [], {}],
    "empty object": {},
    "object": {"b": 1, "a": {"": 2, "é": [3]}, "10": "ten", "a b": None},
    "proto": {"__proto__": {"a": 1}, "constructor": 2},
    "nested": nested(100),
    "no bytes": b"",
    "bytes": bytes(range(256)),
    "bytes like JSON": b'{"a": 1}',
}


async def both_ways(url: str) -> None:
    async with Cache.redis(url, namespace="values") as cache:
        for name, value in VALUES.items():
            await cache.set(f"python {name}", value)
        assert await cache.incr("counter", 40) == 40
        program = ["node", str(NODE), url, "values"]
        ran = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == list(VALUES)
        for name, value in VALUES.items():
            read = await cache.get(f"node {name}")
            assert read == value, name
            # JavaScript has one kind of number: 5.0 comes back as 5.
            assert type(read) is type(value) or name == "whole fraction", name
        assert math.copysign(1, await cache.get("node zero below")) == -1
        assert await cache.incr("counter") == 43


def test_a_value_of_every_kind_is_the_same_in_python_and_in_node() -> None:
    with RedisServer() as server:
        asyncio.run(both_ways(server.url))
