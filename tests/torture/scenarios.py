"""The faults, T1 to T20 of `faults.json`, each as a few calls of any library.

A scenario returns where the fault is not there, perhaps with a word on what was seen; it raises `Fails` where it is, and
`NoSuchThing` where there is nothing that could have it. Must not know any library.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pydantic

from library import MISS, Fails, Library, NoSuchThing, World, until

SOON = 0.2  # seconds, after which whoever has not loaded by itself waits for another's load
PATIENCE = 3.0  # seconds in which word of a change has to arrive; what is promised is two
ROUNDS = 20  # of what depends on chance
ENOUGH = 10  # that went wrong


def loads(value: Any) -> Callable[[], Awaitable[Any]]:
    """A loader that gives a value at once."""

    async def loader() -> Any:
        return value

    return loader


class Gate:
    """A loader that reads, and then waits to be let go."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> Any:
        self.calls += 1
        self.begun.set()
        await self.go.wait()
        return self.value


async def store(cache: Library, key: str, value: Any) -> None:
    """By hand where the library can, else by a load."""
    if cache.has("set"):
        await cache.set(key, value)
    else:
        await cache.load(key, loads(value))


async def read(cache: Library, key: str) -> Any:
    """By hand where the library can, else by a load, which stores that there was nothing."""
    return await (cache.get(key) if cache.has("get") else cache.load(key, loads("missing")))


async def gone(cache: Library, key: str, seconds: float | None = None) -> bool:
    """Whether it comes to have nothing of this key."""

    async def is_gone() -> bool:
        return await cache.get(key) is MISS

    return await until(is_gone, PATIENCE if seconds is None else seconds)


async def settled(work: set[asyncio.Task[Any]]) -> list[Any]:
    """What became of each, errors among them."""
    await asyncio.wait(work, timeout=10)
    for one in work:
        one.cancel()
    return await asyncio.gather(*work, return_exceptions=True)


async def together(cache: Library, key: str, callers: int, seconds: float = 0.02) -> int:
    """How many loads run for so many callers at once."""
    calls = 0

    async def loader() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(seconds)
        return 1

    await asyncio.gather(*(cache.load(key, loader) for _ in range(callers)))
    return calls


async def together_in_two(cache: Library) -> int:
    """The same, beside another process, which takes a moment to begin."""
    return await together(cache, "both", 20, 0.3)


async def _another(world: World, what: str) -> asyncio.subprocess.Process:
    """A process of its own that does its part, with another seed for hashes than any that is drawn."""
    about = [what, world.library.name, world.backend, world.server.url if world.server else "", world.namespace]
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = str(Path(__file__).with_name("another.py"))
    pipe = subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, script, *about, env=env, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def _said(process: asyncio.subprocess.Process, told: bytes = b"") -> str:
    """What it prints until it ends."""
    answer, trouble = await process.communicate(told)
    if process.returncode:
        raise RuntimeError(trouble.decode())
    return answer.decode().strip()


async def need_single_flight(cache: Library) -> None:
    """Whoever loads for each caller by itself has nobody who waits."""
    if await together(cache, "flight", 5) > 1:
        raise NoSuchThing("nobody waits for another's load, see T4")


async def t1_stale_fill(world: World) -> str | None:
    cache = await world.open()
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        "delete": lambda: cache.delete("user:delete"),
        "invalidate_pattern": lambda: cache.invalidate_pattern("user:*"),
        "invalidate_tag": lambda: cache.invalidate_tag("users"),
        "clear": lambda: cache.clear(),
    }
    ways = {name: way for name, way in ways.items() if cache.has(name)}
    tags = ("users",) if cache.has("invalidate_tag") else ()
    if not ways or not cache.has("load"):
        raise NoSuchThing("no loads, or nothing to invalidate them by")
    failed = []
    broken = None
    for name, invalidate in ways.items():
        key, old = f"user:{name}", Gate("old")
        leader = asyncio.create_task(cache.load(key, old, tags=tags))
        await old.begun.wait()
        await invalidate()
        asked_after = asyncio.create_task(cache.load(key, loads("new"), tags=tags))
        await asyncio.wait({asked_after}, timeout=SOON)
        old.go.set()
        (after,) = await settled({asked_after})
        (led,) = await settled({leader})
        broken = led if isinstance(led, BaseException) else broken
        last = await cache.load(key, loads("new"), tags=tags)
        if after == "old" or last == "old":
            failed.append(name)
    if failed:
        raise Fails(f"the old value is served after {', '.join(failed)}")
    return f"the caller that loads gets {type(broken).__name__}" if broken else None


async def t2_cancelled_leader(world: World) -> str | None:
    if not world.library.cancellable:
        raise NoSuchThing("its callers are threads, which nobody cancels")
    cache = await world.open()
    await need_single_flight(cache)
    first = Gate("first")
    leader = asyncio.create_task(cache.load("k", first))
    await first.begun.wait()
    waiting = {asyncio.create_task(cache.load("k", loads("second"))) for _ in range(5)}
    await asyncio.wait(waiting, timeout=SOON)
    leader.cancel()
    await asyncio.wait(waiting, timeout=1)
    first.go.set()
    outcome = await settled(waiting)
    lost = [one for one in outcome if isinstance(one, BaseException)]
    if lost:
        raise Fails(f"{len(lost)} of 5 who waited got {type(lost[0]).__name__}")
    return None


async def t3_two_loads_after_an_error(world: World) -> str | None:
    cache = await world.open()
    await need_single_flight(cache)
    running = most = 0

    async def failing() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        raise LookupError

    async def insistent() -> None:
        for _ in range(ROUNDS):
            with contextlib.suppress(Exception):
                await cache.load("k", failing)

    await asyncio.gather(*(insistent() for _ in range(10)))
    if most > 1:
        raise Fails(f"up to {most} loads of one key at once")
    return None


async def t4_single_flight(world: World) -> str | None:
    cache = await world.open()
    calls = [await together(cache, f"k:{number}", 20) for number in range(ROUNDS)]
    if max(calls) > 1:
        raise Fails(f"up to {max(calls)} loads for 20 callers, in {sum(one > 1 for one in calls)} of {ROUNDS} rounds")
    if not world.is_shared:
        return None
    other = await _another(world, "load")
    assert other.stdout is not None
    await other.stdout.readline()
    ours, theirs = await asyncio.gather(together_in_two(cache), _said(other, b"\n"))
    both = ours + int(theirs)
    return f"{both} loads for 20 callers in each of two processes" if both > 1 else None


async def t5_tags_in_sets(world: World) -> str | None:
    cache = await world.open()
    if not cache.has("invalidate_tag"):
        raise NoSuchThing("no tags")
    await cache.set("long", 1, tags=("t",))
    await cache.set("short", 1, ttl=0.1, tags=("t",))
    await gone(cache, "short")
    await cache.invalidate_tag("t")
    if not await gone(cache, "long"):
        raise Fails("an entry is missed once another of its tag has expired")
    if world.server is None:
        return None
    for number in range(200):
        await cache.set(f"dead:{number}", 1, ttl=0.3, tags=("grows",))
    await cache.set("last", 1, tags=("grows",))
    for number in range(200):
        await gone(cache, f"dead:{number}")
    left = sum(_members(world.server.ask, key) for key in world.server.ask("KEYS", f"*{world.namespace}*"))
    if left >= 200:
        raise Fails("members of entries that are gone stay for as long as the tag does")
    return None


def _members(ask: Callable[..., Any], key: bytes) -> int:
    kind = ask("TYPE", key).decode()
    count = {"set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "list": "LLEN"}.get(kind)
    return int(ask(count, key)) if count else 1


def _near(world: World) -> None:
    if world.backend not in world.library.near:
        raise NoSuchThing("no memory in front of Redis that is told of changes")


async def t6_two_writers(world: World) -> str | None:
    _near(world)
    one, two = await world.two()
    apart = rounds = 0
    while rounds < 15 * ROUNDS and apart < ENOUGH:
        rounds += 1
        await asyncio.gather(one.set("k", f"one {rounds}"), two.set("k", f"two {rounds}"))

        async def agree() -> bool:
            return bool(await one.get("k") == await two.get("k"))

        apart += not await until(agree, 1.0 if apart else PATIENCE)
    if apart:
        raise Fails(f"in {apart} of {rounds} rounds each kept its own value")
    return None


async def t7_patterns(world: World) -> str | None:
    cache = await world.open()
    if not cache.has("invalidate_pattern"):
        raise NoSuchThing("no patterns")
    for key in ("a.b1", "axb1", "c"):
        await cache.set(key, 1)
    await cache.invalidate_pattern("a.b*")
    if await cache.get("a.b1") is not MISS:
        raise Fails("a.b* leaves a.b1")
    if await cache.get("axb1") is MISS or await cache.get("c") is MISS:
        raise Fails("a.b* takes axb1 along")
    return None


async def t8_entity_tags(world: World) -> str | None:
    cache = await world.open()
    async with cache.app() as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            for _ in range(2):
                await client.get("/a")
                await client.get("/b")
            tag = (await client.get("/a")).headers.get("etag")
            if tag is None:
                raise NoSuchThing("no entity tags")
            other = await client.get("/b", headers={"If-None-Match": tag})
    if other.status_code == 304:
        raise Fails("/b is answered by 304 on the tag of /a")
    if await _said(await _another(world, "tag")) != tag:
        raise Fails("each process has a tag of its own for one and the same response")
    return None


async def t9_errors(world: World) -> str | None:
    cache = await world.open()

    async def failing() -> None:
        await asyncio.sleep(0.01)
        raise LookupError("no such user")

    outcome = await settled({asyncio.create_task(cache.load("k", failing)) for _ in range(3)})
    for one in outcome:
        if not (type(one) is LookupError and one.args == ("no such user",)):
            if isinstance(one, NoSuchThing):
                raise one
            raise Fails(f"a caller got {one!r}")
    return None


async def t10_ttl_of_the_near(world: World) -> str | None:
    _near(world)
    one, two = await world.two()
    assert world.server is not None
    ask = world.server.ask
    await one.set("k", 1, ttl=1.5)
    (key,) = (key for key in ask("KEYS", f"*{world.namespace}*") if key.endswith(b"k"))

    async def little_left() -> bool:
        return bool(ask("PTTL", key) < 500)

    async def over() -> bool:
        return not ask("EXISTS", key)

    await until(little_left, PATIENCE)
    # Either may be what fills its memory.
    await two.get("k")
    await two.load("k", loads(1))
    await until(over, PATIENCE)
    # What began anew when it was read would have a second left.
    if not await gone(two, "k", 0.7):
        raise Fails("it is served after Redis has it no longer")
    return None


async def t11_none(world: World) -> str | None:
    cache = await world.open()
    calls = 0

    async def nobody() -> None:
        nonlocal calls
        calls += 1

    for _ in range(3):
        if await cache.load("k", nobody) is not None:
            raise Fails("None does not come back")
    if calls > 1:
        raise Fails(f"{calls} loads for 3 calls")
    return None


async def t12_clear(world: World) -> str | None:
    cache = await world.open()
    if not cache.has("clear"):
        raise NoSuchThing("no clear")
    other = None
    if world.is_shared:
        assert world.server is not None
        world.server.ask("SET", "foreign", "1")
        with contextlib.suppress(NoSuchThing):
            other = await world.open("2")
            await store(other, "k", 1)
    for number in range(300):
        await store(cache, f"k:{number}", number)
    await cache.clear()
    for number in range(300):
        if await read(cache, f"k:{number}") == number:
            raise Fails("some of its own stays")
    if other is not None and await read(other, "k") != 1:
        raise Fails("it takes what other namespaces have")
    if world.is_shared and world.server is not None and world.server.ask("GET", "foreign") is None:
        raise Fails("it takes everything there is in the database")
    return None


async def t13_mutation(world: World) -> str | None:
    cache = await world.open()
    seen = []
    given = {"list": [1]}
    if cache.has("set"):
        await cache.set("k", given)
        given["list"].append(2)
        if (await cache.get("k")) != {"list": [1]}:
            seen.append("what was given")
        (await cache.get("k"))["list"].append(3)
        if 3 in (await cache.get("k"))["list"]:
            seen.append("what was read")
    if cache.has("load"):
        (await cache.load("l", loads({"list": [1]})))["list"].append(2)
        (await cache.load("l", loads(None)))["list"].append(3)
        if (await cache.load("l", loads(None))) != {"list": [1]}:
            seen.append("what was loaded")
    if not cache.has("set") and not cache.has("load"):
        raise NoSuchThing("no values")
    if seen:
        raise Fails(f"changing {' or '.join(seen)} changes the cache")
    return None


class Exploit:
    """Unpickled, it says so."""

    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _run, ()


def _run() -> str:
    Exploit.ran = True
    return "run"


async def t14_pickle(world: World) -> str | None:
    if not world.is_shared:
        raise NoSuchThing("nothing is stored outside the process")
    assert world.server is not None
    cache = await world.open()
    await store(cache, "k", {"name": "Ada"})
    key = next(key for key in world.server.ask("KEYS", "*") if world.namespace.encode() in key and key.endswith(b"k"))
    raw = world.server.ask("GET", key)
    # Where a pickle is, another; where none is, a pickle alone.
    start = re.search(rb"\x80[\x02-\x05]", raw)
    before = raw[: start.start()] if start else b""
    world.server.ask("SET", key, before + pickle.dumps(Exploit()), "EX", 60)
    Exploit.ran = False
    with contextlib.suppress(Exception):
        await read(await world.open(), "k")
    if Exploit.ran:
        raise Fails("what somebody wrote into Redis was run")
    return None


async def t15_locks(world: World) -> str | None:
    one = await world.open()
    two = await world.open() if world.is_shared else one
    first = await one.lock("job", 0.1)
    if one.renews:
        await one.unlock(first)
    second = None

    async def taken() -> bool:
        nonlocal second
        second = await two.lock("job", 60)
        return second is not None

    if not await until(taken, PATIENCE):
        raise Fails("a lock outlives its time")
    with contextlib.suppress(Exception):
        await one.unlock(first)
    third = await one.lock("job", 60)
    if third is not None:
        raise Fails("who lost a lock releases that of the next holder")
    await two.unlock(second)
    return None


async def t16_told_of_changes(world: World) -> str | None:
    _near(world)
    assert world.server is not None
    reader, writer = await world.two()
    late = rounds = 0
    while rounds < 5 * ROUNDS and late < ENOUGH:
        rounds += 1
        done = asyncio.Event()

        async def reading(done: asyncio.Event = done) -> None:
            while not done.is_set():
                await reader.get("k")
                await asyncio.sleep(0)

        task = asyncio.create_task(reading())
        for step in range(20):
            await writer.set("k", rounds * 100 + step)
        done.set()
        await task

        async def newest(want: int = rounds * 100 + 19) -> bool:
            return bool(await reader.get("k") == want)

        late += not await until(newest, 1.0 if late else PATIENCE)
    if late:
        raise Fails(f"in {late} of {rounds} rounds an old value stays in memory")
    await reader.get("k")
    world.server.ask("FLUSHALL")
    if not await gone(reader, "k"):
        raise Fails("FLUSHALL leaves what memory has")
    return None


async def t17_ttl(world: World) -> str | None:
    cache = await world.open()
    if not cache.has("set"):
        raise NoSuchThing("no time to live of a single entry")
    await cache.set("k", 1, ttl=0.2)
    if not await gone(cache, "k"):
        raise Fails("an entry outlives its time to live")
    return None


async def t18_clocks(world: World) -> str | None:
    one, two = await _tagged(world)
    await one.set("k", 1, tags=("t",))
    now = time.time

    def behind() -> float:
        return now() - 5

    with mock.patch("time.time", behind):
        await two.invalidate_tag("t")
    if not await gone(one, "k"):
        raise Fails("what a host invalidates whose clock is 5 s behind is served all the same")
    return None


async def t19_tags_are_followed(world: World) -> str | None:
    one, two = await _tagged(world)
    for number in range(3):
        await one.set("k", number, tags=("t",))
        await one.get("k")
        await two.invalidate_tag("t")
        if not await gone(one, "k"):
            raise Fails(f"the {number + 1}. invalidation by another process is not noticed")
    return None


async def _tagged(world: World) -> tuple[Library, Library]:
    one, two = await world.two()
    if not one.has("invalidate_tag"):
        raise NoSuchThing("no tags")
    return one, two


class User(pydantic.BaseModel):
    name: str


@dataclasses.dataclass
class Point:
    x: int


async def t20_types(world: World) -> str | None:
    cache = await world.open()
    for value in (User(name="Ada"), Point(1)):
        key = type(value).__name__
        missed = await cache.load_as(key, loads(value), type(value))
        hit = await cache.load_as(key, loads(value), type(value))
        if type(hit) is not type(missed):
            raise Fails(f"a {type(missed).__name__} comes back as {type(hit).__name__}")
    return None


SCENARIOS = {
    int(name[1:].split("_")[0]): scenario
    for name, scenario in list(globals().items())
    if name[0] == "t" and name[1].isdigit()
}
