"""Processes that share a Redis: one loads, and what was invalidated by any is stored by none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loaders import PATIENT, Loader
from other_process import OtherProcess

from donjon import Cache
from redis_server import RedisServer

Start = Callable[[], OtherProcess]

HERD = """
import asyncio, json, sys
from donjon import Cache

async def main(url, namespace, callers):
    cache = Cache.redis(url, namespace=namespace, command_timeout=5, connect_timeout=5)
    await cache.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    loads = 0

    async def load():
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.05)
        return {"by": sys.argv[3]}

    values = await asyncio.gather(*(cache.get_or_set("k", load) for _ in range(callers)), return_exceptions=True)
    errors = [repr(value) for value in values if isinstance(value, BaseException)]
    print(json.dumps({"loads": loads, "errors": errors[:3], "values": sorted({str(value) for value in values})}))

asyncio.run(main(sys.argv[1], sys.argv[2], 500))
"""


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str) -> Cache:
    return Cache.redis(redis_server.url, namespace=namespace, early=0.0, **PATIENT)


@pytest.fixture
def start(redis_server: RedisServer, namespace: str) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(OtherProcess(redis_server.url, namespace))


def test_four_processes_with_500_callers_each_load_once(redis_server: RedisServer, namespace: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HERD, redis_server.url, namespace, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [end["errors"] for end in ends] == [[]] * 4
    assert sum(end["loads"] for end in ends) == 1
    assert len({tuple(end["values"]) for end in ends}) == 1


async def test_who_misses_while_another_process_loads_gets_its_value(shared: Cache, start: Start) -> None:
    other = start()
    loader = Loader({"from": "here"})
    loading = asyncio.create_task(shared.get_or_set("k", loader, ttl=60))
    await loader.begun.wait()
    other.tell("await cache.get_or_set('k', lambda: 'loaded elsewhere')")
    await asyncio.sleep(0.2)
    loader.go.set()
    assert await loading == {"from": "here"}
    assert await asyncio.to_thread(other.answer) == {"from": "here"}


INVALIDATIONS = {
    "key": "await cache.delete('user:1')",
    "keys": "await cache.delete_many(['x', 'user:1'])",
    "pattern": "await cache.invalidate_pattern('user:*')",
    "tag": "await cache.invalidate_tags('users')",
    "namespace": "await cache.clear()",
    "set": "await cache.set('user:1', 'new')",
    "blocking": "cache.sync.delete('user:1')",
}


@pytest.mark.parametrize("way", ["get_or_set", "cached", "lookup", "get_or_set_many", "blocking"])
@pytest.mark.parametrize("invalidation", INVALIDATIONS.values(), ids=INVALIDATIONS)
async def test_what_another_process_invalidated_meanwhile_is_not_stored(
    shared: Cache, start: Start, way: str, invalidation: str
) -> None:
    other = start()

    @shared.cached("user:{n}", tags=["users"])
    async def user(n: int) -> str:
        await asyncio.to_thread(other.ask, invalidation)
        return "old"

    async def load(*_: object) -> str:
        return await user.__wrapped__(1)

    if way == "get_or_set":
        assert await shared.get_or_set("user:1", load, tags=["users"]) == "old"
    elif way == "cached":
        assert await user(1) == "old"
    elif way == "lookup":
        async with await shared.lookup("user:1") as found:
            assert not found
            assert await shared.fill(found, await load(), tags=["users"]) is False
    elif way == "blocking":
        told = await asyncio.to_thread(
            shared.sync.get_or_set, "user:1", lambda: (other.ask(invalidation), "old")[1], tags=["users"]
        )
        assert told == "old"
    else:

        async def load_many(keys: list[str]) -> dict[str, str]:
            return {key: await load() for key in keys}

        assert await shared.get_or_set_many(["user:1"], load_many, tags=["users"]) == {"user:1": "old"}
    expected = "new" if "set(" in invalidation else None
    assert await shared.get("user:1") == expected
    assert other.ask("await cache.get('user:1')") == expected


async def test_who_asks_after_an_invalidation_does_not_get_the_load_before_it(shared: Cache, start: Start) -> None:
    other = start()
    loader = Loader("old")
    loading = asyncio.create_task(shared.get_or_set("k", loader))
    await loader.begun.wait()
    await asyncio.to_thread(other.ask, "await cache.delete('k')")
    assert await asyncio.to_thread(other.ask, "await cache.get_or_set('k', lambda: 'new')") == "new"
    loader.go.set()
    assert await loading == "old"
    assert await shared.get("k") == "new"


async def test_a_holder_that_was_killed_blocks_nobody_for_long(shared: Cache, start: Start) -> None:
    other = start()
    other.tell("state.update(found=await cache.lookup('k'))")
    await asyncio.to_thread(other.answer)
    other.kill()
    begun = time.monotonic()
    assert await asyncio.wait_for(shared.get_or_set("k", lambda: "loaded here"), 20) == "loaded here"
    assert time.monotonic() - begun < 5
    assert await shared.get("k") == "loaded here"


async def test_a_load_that_takes_longer_than_a_lease_is_stored(shared: Cache) -> None:
    async def slow() -> str:
        await asyncio.sleep(3)
        return "slow"

    assert await shared.get_or_set("k", slow) == "slow"
    assert await shared.get("k") == "slow"


async def test_a_lease_in_the_result_of_a_cancelled_call_is_given_up(
    shared: Cache, redis_server: RedisServer, namespace: str
) -> None:
    """The answer is there, and the task is cancelled before it goes on: nobody would know of the lease."""
    await shared.ping()
    held = 0
    for _ in range(50):
        caller = asyncio.create_task(shared.lookup("k"))
        for _ in range(1000):
            await asyncio.sleep(0)
            if redis_server.ask("EXISTS", f"{namespace}:k"):
                held += 1
                break
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await caller).abandon()
        assert await asyncio.wait_for(shared.get_or_set("k", lambda: 1), 1.5) == 1
        await shared.delete("k")
    assert held


async def test_a_loader_that_asks_for_its_own_key_does_not_wait_for_itself(shared: Cache) -> None:
    async def load() -> str:
        return await shared.get_or_set("k", lambda: "inner")

    assert await asyncio.wait_for(shared.get_or_set("k", load), 5) == "inner"

    async def load_in_a_thread() -> str:
        return await asyncio.to_thread(shared.sync.get_or_set, "j", lambda: "inner")

    assert await asyncio.wait_for(shared.get_or_set("j", load_in_a_thread), 5) == "inner"


async def test_a_thread_that_blocks_its_own_loop_does_not_wait_for_its_tasks(shared: Cache) -> None:
    loader = Loader("loaded")
    loading = asyncio.create_task(shared.get_or_set("k", loader))
    await loader.begun.wait()
    assert shared.sync.get_or_set("k", lambda: "at once") == "at once"
    loader.go.set()
    assert await loading == await shared.get("k") == "loaded"


async def test_threads_and_tasks_share_a_load(shared: Cache) -> None:
    loader = Loader("once")
    loading = asyncio.create_task(shared.get_or_set("k", loader))
    await loader.begun.wait()
    threads = [asyncio.create_task(asyncio.to_thread(shared.sync.get_or_set, "k", lambda: "twice")) for _ in range(8)]
    await asyncio.sleep(0.1)
    loader.go.set()
    assert {await loading, *await asyncio.gather(*threads)} == {"once"}


async def test_each_waiter_gets_the_error_of_the_load_in_its_own_copy(shared: Cache) -> None:
    loader = Loader(error=LookupError("no such user"))
    callers = [asyncio.create_task(shared.get_or_set("k", loader)) for _ in range(5)]
    await loader.begun.wait()
    await asyncio.sleep(0.05)
    loader.go.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in errors] == [LookupError] * 5
    assert len({id(error) for error in errors}) == 5
    assert loader.calls == 1
    assert await shared.get_or_set("k", lambda: 1) == 1


def test_event_loops_that_come_and_go_share_a_cache(shared: Cache) -> None:
    async def work(number: int) -> object:
        await shared.set(f"k:{number}", number)
        return await shared.get("k:0"), await shared.get_or_set(f"j:{number}", lambda: number)

    assert [asyncio.run(work(number)) for number in range(5)] == [(0, number) for number in range(5)]
    assert shared.sync.get("k:4") == 4


def test_event_loops_in_threads_share_a_cache(shared: Cache) -> None:
    values: list[object] = []

    async def work() -> None:
        for number in range(50):
            values.append(await shared.get_or_set(f"k:{number}", lambda: "v"))

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        shared.sync.get("k:0")
    for thread in threads:
        thread.join(60)
    assert values == ["v"] * 200


def test_uvloop_serves_as_well(shared: Cache) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work() -> object:
        await shared.set("k", {"n": 1}, tags=["t"])
        values = await asyncio.gather(*(shared.get("k") for _ in range(100)))
        assert values == [{"n": 1}] * 100
        await shared.invalidate_tags("t")
        return await shared.get_or_set("k", lambda: "anew")

    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(work()) == "anew"
    finally:
        loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_row_24_a_child_of_fork_has_connections_of_its_own(
    shared: Cache, redis_server: RedisServer, namespace: str
) -> None:
    await shared.set("k", "of the parent")
    shared.sync.get("k")
    held = await shared.lookup("led by the parent")
    before = redis_server.ask("CLIENT", "LIST").count(b"addr=")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio._set_running_loop(None)
            assert shared.sync.get("k") == "of the parent"
            assert asyncio.run(shared.get("k")) == "of the parent"
            shared.sync.set("child", 1)
            assert redis_server.ask("CLIENT", "LIST").count(b"addr=") > before
            status = 0
        finally:
            os._exit(status)
    _, ended = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert await shared.get("child") == 1
    assert await shared.fill(held, 1) is True
    assert shared.sync.get("led by the parent") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_row_24_a_fork_amid_the_work_of_threads_does_not_hang(shared: Cache) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared.sync.set(f"k:{number % 100}", {"n": number})
            shared.sync.get_or_set(f"j:{number % 50}", lambda: 1)
            shared.sync.invalidate_pattern("k:1*")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    shared.sync.set("child", 1)
                    assert shared.sync.get("child") == 1
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


ENDINGS = {
    "after a loop": "asyncio.run(work()); cache.sync.get('k')",
    "in a loop": "loop = asyncio.new_event_loop(); loop.run_until_complete(work())",
    "amid a load": "loop = asyncio.new_event_loop(); found = loop.run_until_complete(cache.lookup('j'))",
    "amid a call": "loop = asyncio.new_event_loop(); loop.run_until_complete(half())",
    "with a thread at work": "threading.Thread(target=lambda: [cache.sync.get('k') for _ in iter(int, 1)], daemon=True).start(); time.sleep(0.2)",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_row_24_the_interpreter_ends_without_a_word(
    redis_server: RedisServer, namespace: str, ending: str, tmp_path: Path
) -> None:
    program = f"""
import asyncio, threading, time
from donjon import Cache
cache = Cache.redis({redis_server.url!r}, namespace={namespace!r}, command_timeout=5, connect_timeout=5)
async def work():
    await cache.set("k", 1)
    assert await cache.get("k") == 1
async def half():
    await work()
    global asked
    asked = asyncio.ensure_future(cache.get("k"))
    await asyncio.sleep(0)
{ending}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    shown = ended.stderr if ending != ENDINGS["amid a call"] else ""
    assert (ended.returncode, shown) == (0, "")
