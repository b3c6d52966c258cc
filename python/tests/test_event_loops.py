"""The Redis backend on event loops that come and go, beside each other, in children of `fork` and at the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import redis
import uvloop

from donjon import Cache
from redis_server import RedisServer

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=FACTORIES)
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return FACTORIES[request.param]


@pytest.fixture
def run(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run[Any]:
    """Runs a coroutine on a loop of its own, which is closed thereafter."""

    def run(main: Coroutine[Any, Any, T]) -> T:
        loop = new_loop()
        try:
            return loop.run_until_complete(main)
        finally:
            loop.close()

    return run


@pytest.fixture
def shared(redis_server: RedisServer, namespace: str, foreign: redis.Redis) -> Iterator[Cache]:
    cache = Cache.redis(redis_server.url, namespace=namespace)
    cache.sync.set("k", "v", ttl=600)
    return cache


async def ask(cache: Cache, times: int = 20) -> None:
    assert await asyncio.gather(*(cache.get("k") for _ in range(times))) == ["v"] * times


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors as Linux shows them")


@needs_proc
def test_a_closed_loop_leaves_nothing_open_and_is_freed(run: Run[Any], shared: Cache) -> None:
    async def use() -> weakref.ref[asyncio.AbstractEventLoop]:
        await ask(shared)
        return weakref.ref(asyncio.get_running_loop())

    run(use())
    gc.collect()
    before = open_files()
    loops = [run(use()) for _ in range(20)]
    assert open_files() == before
    gc.collect()
    assert [loop() for loop in loops] == [None] * 20


@needs_proc
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_nobody_closed_is_collected_with_its_connection(shared: Cache) -> None:
    def use() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask(shared))
        return weakref.ref(loop)

    gc.collect()
    before = open_files()
    loop = use()
    gc.collect()
    assert loop() is None
    assert open_files() == before


def test_a_loop_that_runs_again_keeps_its_connection(
    new_loop: Callable[[], asyncio.AbstractEventLoop], shared: Cache, foreign: redis.Redis
) -> None:
    loop = new_loop()
    try:
        loop.run_until_complete(ask(shared))
        connected = foreign.info("stats")["total_connections_received"]
        loop.run_until_complete(ask(shared))
        assert foreign.info("stats")["total_connections_received"] == connected
    finally:
        loop.close()


def test_loops_beside_each_other_share_one_cache(run: Run[Any], shared: Cache) -> None:
    ended = []

    async def use() -> None:
        for _ in range(50):
            await ask(shared, 10)
        ended.append(threading.get_ident())

    threads = [threading.Thread(target=lambda: run(use())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 4


def test_a_loop_whose_lead_is_lost_hands_the_load_to_another_loop(run: Run[Any], shared: Cache) -> None:
    begun = threading.Event()

    async def endless() -> str:
        begun.set()
        await asyncio.sleep(3600)
        return "never"

    async def lead() -> None:
        leading = asyncio.create_task(shared.get_or_set("handed", endless))
        await asyncio.to_thread(waiting.wait, 10)
        await asyncio.sleep(0.05)
        leading.cancel()
        await asyncio.wait([leading])

    async def follow() -> str:
        waiting.set()
        return await shared.get_or_set("handed", lambda: "loaded")

    waiting = threading.Event()
    leader = threading.Thread(target=lambda: run(lead()))
    leader.start()
    assert begun.wait(10)
    assert run(follow()) == "loaded"
    leader.join(10)


def test_without_a_loop_it_says_what_to_do(shared: Cache) -> None:
    asked = shared.get("k")
    with pytest.raises(RuntimeError, match=r"cache\.sync"):
        asked.send(None)  # type: ignore[attr-defined]


def test_what_is_asked_in_one_turn_of_the_loop_goes_out_together(
    run: Run[Any], shared: Cache, foreign: redis.Redis
) -> None:
    async def turns() -> int:
        await ask(shared, 100)
        before = foreign.info("stats")["total_reads_processed"]
        for _ in range(10):
            await ask(shared, 100)
        return int(foreign.info("stats")["total_reads_processed"] - before)

    # A thousand commands; a read of the server's takes in all that was written at once.
    assert run(turns()) < 200


def test_a_connection_that_the_server_closed_costs_an_idle_loop_nothing(
    run: Run[Any], shared: Cache, foreign: redis.Redis
) -> None:
    async def idle() -> float:
        await ask(shared)
        foreign.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.1)
        before = time.thread_time()
        await asyncio.sleep(0.5)
        spent = time.thread_time() - before
        await asyncio.sleep(0.5)
        assert await shared.get_or_set("k", lambda: "v") == "v"
        return spent

    assert run(idle()) < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_of_fork_has_connections_of_its_own(run: Run[Any], shared: Cache) -> None:
    async def parent() -> int:
        await ask(shared)
        answer, report = os.pipe()
        child = os.fork()
        if child == 0:
            told = b"failed"
            try:
                asyncio._set_running_loop(None)
                run(ask(shared))
                assert shared.sync.get("k") == "v"
                gc.collect()
                told = b"done"
            finally:
                os.write(report, told)
                os._exit(0)
        os.close(report)
        assert await asyncio.wait_for(asyncio.to_thread(os.read, answer, 16), 30) == b"done"
        os.close(answer)
        await ask(shared)
        return child

    assert os.waitpid(run(parent()), 0)[1] == 0
    assert shared.sync.get("k") == "v"


@pytest.mark.parametrize("loop", FACTORIES)
@pytest.mark.parametrize("left", ["awaiting", "blocking"])
def test_the_interpreter_ends_whatever_is_under_way(
    own_server: Callable[..., RedisServer], loop: str, left: str
) -> None:
    server = own_server()
    program = f"""
import asyncio, threading, uvloop
from donjon import Cache
cache = Cache.redis({server.url!r}, command_timeout=30)
loop = {loop}.new_event_loop()
async def main():
    await cache.set("k", 1)
    asyncio.create_task(cache.get("k"))
    await asyncio.sleep(0)
loop.run_until_complete(main())
if {left!r} == "blocking":
    cache.sync.get("k")
    print("hold", flush=True)
    input()
    threading.Thread(target=cache.sync.get, args=("k",), daemon=True).start()
print("end", flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if left == "blocking":
        assert child.stdout is not None and child.stdout.readline() == "hold\n"
        server.pause()
    out, err = child.communicate("\n", timeout=30)
    if left == "blocking":
        server.resume()
    assert (child.returncode, out) == (0, "end\n"), err
    assert "panicked" not in err
