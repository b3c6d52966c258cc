"""Loads: one for everyone who asks, in the caller's own task, given up on every way out."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loaders import Loader, elsewhere, until

from donjon import Cache, InvalidTtl, Miss, UnsupportedValue
from donjon._donjon import MISS, ManualClock
from donjon._loading import _loads

Spin = Callable[[], Awaitable[None]]


class NotFound(Exception):
    pass


async def test_a_load_serves_everyone_who_asks_meanwhile(cache: Cache, spin: Spin) -> None:
    loader = Loader({"n": 1})
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(20)]
    await spin()
    loader.go.set()
    values = await asyncio.gather(*callers)
    assert loader.calls == 1
    assert values == [{"n": 1}] * 20
    assert len({id(value) for value in values}) == 20
    assert cache.stats().loads == 1


async def test_a_plain_loader_will_do(cache: Cache) -> None:
    assert await cache.get_or_set("k", lambda: [1]) == [1]
    assert await cache.get_or_set("k", lambda: [2]) == [1]


async def test_what_is_no_function_is_no_loader(cache: Cache) -> None:
    with pytest.raises(TypeError, match="function"):
        await cache.get_or_set("k", {"value": 1})  # type: ignore[arg-type]


async def test_a_loader_runs_in_the_task_of_its_caller(cache: Cache) -> None:
    ran_in = []

    async def loader() -> int:
        ran_in.append(asyncio.current_task())
        return 1

    await cache.get_or_set("k", loader)
    assert ran_in == [asyncio.current_task()]


@pytest.mark.memory
async def test_a_hit_makes_neither_task_nor_future(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    @cache.cached("f:{n}")
    async def function(n: int) -> int:
        return n

    await cache.set("k", 1)
    await function(1)
    loop = asyncio.get_running_loop()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a hit made a task or a future")

    with monkeypatch.context() as patch:
        for name in ("create_task", "create_future", "call_soon", "call_later"):
            patch.setattr(loop, name, refuse)
        for hit in (cache.get("k"), cache.get_or_set("k", lambda: 2), function(1)):
            with pytest.raises(StopIteration) as end:
                hit.send(None)
            assert end.value.value == 1


async def test_a_cancelled_leader_leaves_the_load_to_another(cache: Cache, spin: Spin) -> None:
    first, second = Loader(1), Loader(2)
    leader = asyncio.create_task(cache.get_or_set("k", first))
    await first.begun.wait()
    followers = [asyncio.create_task(cache.get_or_set("k", second)) for _ in range(5)]
    await spin()
    leader.cancel()
    await second.begun.wait()
    second.go.set()
    assert await asyncio.gather(*followers) == [2] * 5
    assert second.calls == 1
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_cancelled_waiter_disturbs_nobody(cache: Cache, spin: Spin) -> None:
    loader = Loader(1)
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(5)]
    await spin()
    callers[2].cancel()
    await spin()
    loader.go.set()
    done = await asyncio.gather(*callers, return_exceptions=True)
    assert [value for value in done if value == 1] == [1] * 4
    assert isinstance(done[2], asyncio.CancelledError)
    assert loader.calls == 1


async def test_everyone_may_be_cancelled(cache: Cache, spin: Spin) -> None:
    loader = Loader(1)
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(5)]
    await spin()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert cache.stats().flights == 0
    assert await cache.get_or_set("k", lambda: 2) == 2


@pytest.mark.memory
async def test_a_coroutine_that_is_thrown_away_gives_its_load_up(cache: Cache) -> None:
    work = cache.get_or_set("k", Loader(1))
    work.send(None)
    assert cache.stats().flights == 1
    work.close()
    assert cache.stats().flights == 0


async def test_a_load_may_be_closed_in_another_context_than_it_began_in(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", ignored.append)
    load = cache.get_or_set("k", Loader())
    contextvars.Context().run(load.send, None)
    load.close()
    load = cache.get_or_set("k", Loader())
    contextvars.Context().run(load.send, None)
    del load
    assert not ignored
    assert await cache.get_or_set("k", lambda: 1) == 1


async def test_a_time_out_around_a_load_is_a_cancellation(cache: Cache) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(cache.get_or_set("k", Loader(1)), 0.001)
    assert cache.stats().flights == 0
    assert cache.stats().load_failures == 0


async def test_a_failure_reaches_all_in_its_own_type_and_is_not_cached(cache: Cache, spin: Spin) -> None:
    failure = NotFound("user", 5)
    loader = Loader(error=failure)
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await spin()
    loader.go.set()
    leader, *followers = await asyncio.gather(*callers, return_exceptions=True)
    assert leader is failure
    for error in followers:
        assert type(error) is NotFound
        assert error.args == ("user", 5)
        assert error is not failure
        assert error.__cause__ is failure
    assert loader.calls == 1
    assert await cache.get_or_set("k", lambda: 1) == 1


async def test_an_error_that_cannot_be_copied_is_raised_itself(cache: Cache, spin: Spin) -> None:
    class Stubborn(Exception):
        def __init__(self, *, code: int) -> None:
            super().__init__(f"code {code}")
            self.code = code

    failure = Stubborn(code=5)
    loader = Loader(error=failure)
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await spin()
    loader.go.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [failure] * 3


async def test_an_error_that_was_shared_is_freed_with_those_who_had_it(cache: Cache, spin: Spin) -> None:
    class Unique(Exception):
        def __copy__(self) -> Exception:
            raise TypeError

    async def ask() -> weakref.ref[Exception]:
        loader = Loader(error=Unique())
        callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
        await spin()
        loader.go.set()
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert errors == [loader.error] * 3
        return weakref.ref(loader.error)

    error = await ask()
    await spin()
    gc.collect()
    assert error() is None


async def test_an_error_whose_copy_would_say_something_else_is_raised_itself(cache: Cache, spin: Spin) -> None:
    class Unknown(Exception):
        def __init__(self, name: str) -> None:
            super().__init__(f"unknown: {name}")

    loader = Loader(error=Unknown("ada"))
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await spin()
    loader.go.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["unknown: ada"] * 3


async def test_a_failed_load_gives_the_stale_value_and_says_so_once(
    cache: Cache, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise NotFound("secret")

    await cache.set_many({"k": "old", "j": "old"}, ttl=10, grace=60)
    clock.advance(11)
    with caplog.at_level(logging.WARNING, "donjon"):
        assert await cache.get_or_set("k", broken) == "old"
        assert await cache.get_or_set("j", broken) == "old"
    assert len(caplog.messages) == 1
    assert "NotFound" in caplog.text
    assert "secret" not in caplog.text
    assert cache.stats().stale_on_error == 2
    clock.advance(60)
    with pytest.raises(NotFound):
        await cache.get_or_set("k", broken)


async def test_what_was_invalidated_is_not_served_stale(cache: Cache, clock: ManualClock) -> None:
    async def broken() -> None:
        await cache.delete("k")
        raise NotFound

    await cache.set("k", "old", ttl=10, grace=60)
    clock.advance(11)
    with pytest.raises(NotFound):
        await cache.get_or_set("k", broken)


async def test_while_one_refreshes_the_others_get_the_stale_value(cache: Cache, clock: ManualClock) -> None:
    await cache.set("k", "old", ttl=10, grace=60)
    clock.advance(11)
    loader = Loader("new")
    refresher = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    assert await cache.get_or_set("k", lambda: "another") == "old"
    loader.go.set()
    assert await refresher == "new"
    assert await cache.get("k") == "new"


async def test_a_loader_that_asks_for_its_own_key_loads_directly(cache: Cache) -> None:
    async def inner() -> str:
        return "inner"

    async def outer() -> list[str]:
        return [await cache.get_or_set("k", inner), *await asyncio.gather(cache.get_or_set("k", inner))]

    assert await asyncio.wait_for(cache.get_or_set("k", outer), 5) == ["inner", "inner"]
    assert await cache.get("k") == ["inner", "inner"]


async def test_a_lookup_that_asks_for_its_own_key_loads_directly(cache: Cache) -> None:
    async with await cache.lookup("k") as found:
        assert await asyncio.wait_for(cache.get_or_set("k", lambda: 1), 5) == 1
        assert await cache.fill(found, 2)
    assert await cache.get("k") == 2


async def test_two_caches_do_not_take_each_others_loads_for_their_own(spin: Spin) -> None:
    one, other = Cache.memory(), Cache.memory()
    loader = Loader(1)
    leader = asyncio.create_task(other.get_or_set("k", loader))
    await loader.begun.wait()

    async def outer() -> Any:
        follower = asyncio.create_task(other.get_or_set("k", lambda: 2))
        await spin()
        loader.go.set()
        return await follower

    assert await one.get_or_set("k", outer) == 1
    assert await leader == 1


async def test_waiting_ends_and_then_everyone_loads_without_storing(clock: ManualClock) -> None:
    cache = Cache.memory(clock=clock, load_timeout=0.01)
    loader = Loader("slow")
    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    assert await cache.get_or_set("k", lambda: "direct") == "direct"
    assert await cache.get("k") is None
    loader.go.set()
    assert await leader == "slow"
    assert await cache.get("k") == "slow"


async def test_a_load_that_runs_past_its_limit_is_taken_over() -> None:
    cache = Cache.memory(load_timeout=0.2)
    loader = Loader("slow")
    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    assert await cache.get_or_set("k", lambda: "new", force_refresh=True) == "new"
    assert await cache.get("k") == "new"
    loader.go.set()
    assert await leader == "slow"
    assert await cache.get("k") == "new"


async def test_force_refresh_never_takes_what_was_begun_before_it(cache: Cache, spin: Spin) -> None:
    await cache.set("k", 0)
    first, second = Loader(1), Loader(2)
    one = asyncio.create_task(cache.get_or_set("k", first, force_refresh=True))
    await first.begun.wait()
    others = [asyncio.create_task(cache.get_or_set("k", second, force_refresh=True)) for _ in range(3)]
    await spin()
    assert await cache.get("k") == 0
    first.go.set()
    second.go.set()
    assert await one == 1
    assert await asyncio.gather(*others) == [2] * 3
    assert second.calls == 1
    assert await cache.get("k") == 2


async def test_a_refused_value_is_told_to_those_who_wait(cache: Cache, spin: Spin) -> None:
    loader = Loader(object())
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await spin()
    loader.go.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in errors] == [UnsupportedValue] * 3
    assert loader.calls == 1
    assert cache.stats().flights == 0


async def test_a_bad_argument_is_refused_before_the_loader_runs(cache: Cache) -> None:
    loader = Loader(1)
    with pytest.raises(InvalidTtl):
        await cache.get_or_set("k", loader, ttl=0)
    with pytest.raises(InvalidTtl):
        await cache.get_or_set("k", loader, ttl="no class")
    with pytest.raises(InvalidTtl):
        await cache.get_or_set("k", loader, grace=-1)
    with pytest.raises(ValueError, match="mode"):
        await cache.get_or_set("k", loader, mode="weak")  # type: ignore[call-overload]
    assert loader.calls == 0
    assert cache.stats().flights == 0


async def test_a_load_is_stored_as_asked(cache: Cache, clock: ManualClock) -> None:
    await cache.get_or_set("k", lambda: 1, ttl=10, grace=10, tags=["t"])
    assert await cache.ttl("k") == pytest.approx(10, abs=2)
    clock.advance(15)
    assert await cache.get("k") == 1
    await cache.invalidate_tags("t")
    assert await cache.get("k") is None


# -- many at a time


async def test_a_lookup_may_insist_on_what_is_loaded_from_then_on(cache: Cache) -> None:
    await cache.set("k", "old")
    async with await cache.lookup("k", force_refresh=True) as found:
        assert not found
        assert await cache.get("k") == "old"
        assert await cache.fill(found, "new")
    assert await cache.get("k") == "new"


@pytest.mark.memory
async def test_a_miss_has_what_others_are_served_meanwhile(cache: Cache, clock: ManualClock) -> None:
    async with await cache.lookup("k") as found:
        assert isinstance(found, Miss)
        assert found.stale is MISS
    await cache.set("k", "old", ttl=60, grace=60)
    clock.advance(61)
    async with await cache.lookup("k") as found:
        assert isinstance(found, Miss)
        assert found.stale == "old"
        found.abandon()
        assert found.stale is MISS


async def test_a_lookup_waits_for_the_holder_of_the_miss(cache: Cache, spin: Spin) -> None:
    async with await cache.lookup("k") as found:
        other = elsewhere(cache.lookup("k"))
        await spin()
        assert not other.done()
        await cache.fill(found, 1, ttl=10, tags=["t"])
    hit = await other
    assert hit
    assert hit.value == 1  # type: ignore[union-attr]


async def test_a_miss_that_is_let_go_passes_the_load_on(cache: Cache, spin: Spin) -> None:
    async with await cache.lookup("k"):
        other = elsewhere(cache.lookup("k"))
        await spin()
    async with await other as found:
        assert not found
        assert await cache.fill(found, 2)


async def test_a_miss_that_nobody_has_any_longer_is_let_go_and_forgotten(cache: Cache) -> None:
    for _ in range(3):
        assert not await cache.lookup("k")
    assert not _loads.get()


async def test_an_error_in_the_block_reaches_those_who_wait(cache: Cache, spin: Spin) -> None:
    others = []

    async def hold() -> None:
        async with await cache.lookup("k"):
            others.append(elsewhere(cache.get_or_set("k", lambda: 1)))
            await spin()
            raise NotFound

    with pytest.raises(NotFound):
        await hold()
    with pytest.raises(NotFound):
        await others[0]


async def test_a_value_that_cannot_be_filled_is_told_to_those_who_wait(cache: Cache, spin: Spin) -> None:
    found = await cache.lookup("k")
    other = elsewhere(cache.get_or_set("k", lambda: 1))
    await spin()
    with pytest.raises(UnsupportedValue):
        await cache.fill(found, object())
    with pytest.raises(UnsupportedValue):
        await other


async def test_a_fill_that_is_refused_frees_the_key(cache: Cache) -> None:
    found = await cache.lookup("k")
    with pytest.raises(InvalidTtl):
        await cache.fill(found, 1, ttl=-1)
    with pytest.raises(UnsupportedValue):
        await cache.fill(found, object())
    assert cache.stats().flights == 0


async def test_who_waits_for_several_loads_looked_up_once(cache: Cache, spin: Spin) -> None:
    loaders = [Loader(number) for number in range(3)]
    leaders = [elsewhere(cache.get_or_set("k", loader)) for loader in loaders]
    many = elsewhere(cache.get_or_set_many(["k"], lambda keys: dict.fromkeys(keys, "many")))
    for leader, loader in zip(leaders, loaders, strict=True):
        await loader.begun.wait()
        await spin()
        leader.cancel()
    assert await many == {"k": "many"}
    assert cache.stats().misses == 4


async def test_nothing_remains_of_loads_that_are_over(cache: Cache) -> None:
    await cache.get_or_set("a", lambda: 1)
    await cache.get_or_set_many(["b", "c"], lambda keys: dict.fromkeys(keys, 1))
    await cache.fill(await cache.lookup("d"), 1)
    (await cache.lookup("e")).abandon()  # type: ignore[union-attr]
    with pytest.raises(ZeroDivisionError):
        await cache.get_or_set("f", lambda: 1 / 0)
    assert _loads.get() == frozenset()


# -- threads


def test_threads_share_one_load() -> None:
    cache = Cache.memory().sync
    begun, go = threading.Event(), threading.Event()
    calls, values = [], []

    def loader() -> str:
        calls.append(1)
        begun.set()
        assert go.wait(10)
        return "v"

    threads = [threading.Thread(target=lambda: values.append(cache.get_or_set("k", loader))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    asyncio.run(until(lambda: cache.stats().misses == 8))
    go.set()
    for thread in threads:
        thread.join(10)
    assert values == ["v"] * 8
    assert len(calls) == 1


async def test_a_task_waits_for_the_load_of_a_thread(cache: Cache, spin: Spin) -> None:
    begun, go = threading.Event(), threading.Event()
    asyncio.get_running_loop().set_debug(True)  # the loop then refuses what another thread may not do

    def loader() -> str:
        begun.set()
        assert go.wait(10)
        return "of the thread"

    thread = asyncio.create_task(asyncio.to_thread(cache.sync.get_or_set, "k", loader))
    await asyncio.to_thread(begun.wait, 10)
    follower = asyncio.create_task(cache.get_or_set("k", lambda: "of the task"))
    await spin()
    go.set()
    assert await asyncio.wait_for(follower, 10) == "of the thread"
    assert await thread == "of the thread"


async def test_a_thread_waits_for_the_load_of_a_task(cache: Cache) -> None:
    loader = Loader("of the task")
    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    follower = asyncio.create_task(asyncio.to_thread(cache.sync.get_or_set, "k", lambda: "of the thread"))
    await until(lambda: cache.stats().misses == 2)
    loader.go.set()
    assert await asyncio.wait_for(follower, 10) == "of the task"
    assert await leader == "of the task"


async def test_a_thread_never_waits_for_the_loop_that_it_runs(cache: Cache) -> None:
    loader = Loader("of the task")
    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    assert cache.sync.get_or_set("k", lambda: "direct") == "direct"
    assert not await cache.exists("k")
    loader.go.set()
    assert await leader == "of the task"


def test_the_blocking_face_refuses_an_async_loader(cache: Cache) -> None:
    with pytest.raises(TypeError, match="async loader"):
        cache.sync.get_or_set("k", Loader(1))
    assert cache.stats().flights == 0


def test_the_blocking_face_loads_many_and_looks_up(cache: Cache) -> None:
    assert cache.sync.get_or_set_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1)) == {"a": 1, "b": 1}
    with cache.sync.lookup("k") as found:
        assert cache.sync.fill(found, 2)
    assert cache.sync.lookup("k")


def test_one_cache_serves_one_loop_after_another(cache: Cache) -> None:
    async def ask(value: int) -> Any:
        loader = Loader(value)
        callers = [asyncio.create_task(cache.get_or_set("k", loader, force_refresh=True)) for _ in range(2)]
        await loader.begun.wait()
        loader.go.set()
        return await asyncio.gather(*callers)

    assert asyncio.run(ask(1))
    assert asyncio.run(ask(2))
    assert cache.sync.get("k") == 2


def test_a_waiter_whose_loop_is_gone_is_forgotten(cache: Cache) -> None:
    with cache.sync.lookup("k") as found:

        async def wait() -> None:
            waiter = elsewhere(cache.get_or_set("k", lambda: 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiter.done()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(wait())
        loop.close()
        assert cache.sync.fill(found, 2)
    assert cache.sync.get("k") == 2
