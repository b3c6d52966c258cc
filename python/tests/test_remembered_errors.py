"""Exceptions of a loader that are remembered: for whom, for how long, and what comes before them."""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import pytest
from fastapi import HTTPException
from loaders import PATIENT, Loader, elsewhere
from other_process import OtherProcess
from pydantic import ValidationError

from donjon import Cache, ConfigError, InvalidTtl, LoadTimeout
from donjon._donjon import ManualClock
from redis_server import RedisServer


class NotFound(Exception):
    """One whose parameters are not its args."""

    def __init__(self, kind: str, *, number: int) -> None:
        super().__init__(f"no {kind} {number}")
        self.kind = kind
        self.number = number


class Gone(NotFound): ...


class OtherMade(Exception):
    def __new__(cls, *args: object) -> OtherMade:
        return super().__new__(cls, "made")


class Colour(str, Enum):
    RED = "red"


class Slotted(Exception):
    __slots__ = ("code",)


ERRORS: Any = {NotFound: 10}


class Failing:
    """A loader that raises the errors that it was given, one after the other, and then gives values."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self, *args: object) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "loaded"


def _missing() -> NotFound:
    return NotFound("user", number=7)


async def _remembered(cache: Cache, *, tags: tuple[str, ...] = ()) -> None:
    with pytest.raises(NotFound):
        await cache.get_or_set("k", Failing(_missing()), errors=ERRORS, tags=tags)


async def test_it_is_raised_anew_for_each_who_asks_until_its_time_is_over(clock: ManualClock, cache: Cache) -> None:
    loader = Failing(_missing())
    raised = []
    for _ in range(3):
        with pytest.raises(NotFound) as caught:
            await cache.get_or_set("k", loader, ttl="1h", grace="1h", errors={NotFound: 10})
        raised.append(caught.value)
    assert loader.calls == 1
    assert len({id(error) for error in raised}) == 3
    for error in raised:
        assert (str(error), error.kind, error.number, error.args) == ("no user 7", "user", 7, ("no user 7",))
    assert raised[1].__traceback__ is not raised[2].__traceback__
    clock.advance(10)
    assert await cache.get_or_set("k", loader, errors={NotFound: 10}) == "loaded"


async def test_only_what_is_declared_is_remembered(cache: Cache) -> None:
    for error in (KeyError("x"), Gone("user", number=1)):
        loader = Failing(error)
        with pytest.raises(type(error)):
            await cache.get_or_set("k", loader, errors=ERRORS)
        assert await cache.get_or_set("k", loader, errors=ERRORS) == "loaded"
        await cache.delete("k")
    loader = Failing(_missing())
    with pytest.raises(NotFound):
        await cache.get_or_set("k", loader)
    assert await cache.get_or_set("k", loader) == "loaded"


async def test_it_is_no_value(cache: Cache) -> None:
    await _remembered(cache)
    assert await cache.get("k", "nothing") == "nothing"
    assert await cache.get("k", as_=str) is None
    assert await cache.get_many(["k"]) == {}
    assert not await cache.exists("k")
    assert await cache.ttl("k") is None
    assert not await cache.touch("k", 60)
    assert await cache.add("k", 1)
    assert await cache.get("k") == 1


async def test_counting_begins_anew_in_its_place(cache: Cache) -> None:
    await _remembered(cache)
    assert await cache.incr("k") == 1
    assert await cache.incr("k") == 2


async def test_who_does_not_declare_it_loads_and_the_value_takes_its_place(cache: Cache) -> None:
    await _remembered(cache)
    assert await cache.get_or_set("k", Failing(), errors={KeyError: 10}) == "loaded"
    await cache.delete("k")
    await _remembered(cache)
    assert await cache.get_or_set("k", Failing()) == "loaded"
    assert await cache.get_or_set("k", Loader(), errors=ERRORS) == "loaded"


async def test_batches_and_lookups_load_past_it(cache: Cache) -> None:
    await _remembered(cache)
    found = await cache.get_or_set_many(["k", "other"], lambda keys: dict.fromkeys(keys, "batch"))
    assert found == {"k": "batch", "other": "batch"}
    await cache.delete("k")
    await _remembered(cache)
    async with await cache.lookup("k") as miss:
        assert not miss
        await cache.fill(miss, "filled")
    assert await cache.get("k") == "filled"


@pytest.mark.parametrize(
    "invalidate",
    [
        lambda cache: cache.delete("k"),
        lambda cache: cache.invalidate_pattern("k*"),
        lambda cache: cache.invalidate_tags("users"),
        lambda cache: cache.clear(),
        lambda cache: cache.set("k", "set"),
    ],
)
async def test_what_ends_a_value_ends_it(cache: Cache, invalidate: Callable[[Cache], Awaitable[Any]]) -> None:
    await _remembered(cache, tags=("users",))
    with pytest.raises(NotFound):
        await cache.get_or_set("k", Failing(), errors=ERRORS)
    await invalidate(cache)
    assert await cache.get_or_set("k", Failing(), errors=ERRORS) in ("loaded", "set")


async def test_one_of_a_load_that_began_before_an_invalidation_is_not_remembered(cache: Cache) -> None:
    loader = Loader(error=_missing())
    task = elsewhere(cache.get_or_set("k", loader, errors=ERRORS))
    await loader.begun.wait()
    await cache.delete("k")
    loader.go.set()
    with pytest.raises(NotFound):
        await task
    assert await cache.get_or_set("k", Failing(), errors=ERRORS) == "loaded"


async def test_each_who_waits_gets_one_of_its_own(cache: Cache, spin: Callable[[], Awaitable[None]]) -> None:
    loader = Loader(error=_missing())
    tasks = [elsewhere(cache.get_or_set("k", loader, errors=ERRORS)) for _ in range(5)]
    await loader.begun.wait()
    await spin()
    loader.go.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert loader.calls == 1
    assert [(type(error), str(error)) for error in errors] == [(NotFound, "no user 7")] * 5
    assert len({id(error) for error in errors}) == 5


async def test_who_waits_and_does_not_declare_it_loads(cache: Cache, spin: Callable[[], Awaitable[None]]) -> None:
    loader = Loader(error=_missing())
    first = elsewhere(cache.get_or_set("k", loader, errors=ERRORS))
    await loader.begun.wait()
    second = elsewhere(cache.get_or_set("k", Failing()))
    batch = elsewhere(cache.get_or_set_many(["k"], lambda keys: dict.fromkeys(keys, "batch")))
    await spin()
    loader.go.set()
    with pytest.raises(NotFound):
        await first
    assert await second in ("loaded", "batch")
    assert (await batch)["k"] in ("loaded", "batch")


async def test_a_stale_value_comes_before_it_while_its_grace_lasts(clock: ManualClock, cache: Cache) -> None:
    loader = Failing()
    ask = lambda: cache.get_or_set("k", loader, ttl=10, grace=20, errors={NotFound: 100})  # noqa: E731
    assert await ask() == "loaded"
    clock.advance(10)
    loader.errors = [_missing(), _missing()]
    assert [await ask(), await ask()] == ["loaded", "loaded"]
    assert (loader.calls, cache.stats().stale_on_error) == (3, 2), "and every load that fails is tried again"
    clock.advance(20)
    loader.errors = [_missing()]
    for _ in range(2):
        with pytest.raises(NotFound):
            await ask()
    assert loader.calls == 4


async def test_over_redis_a_stale_value_comes_before_it(shared_pair: tuple[Cache, Cache]) -> None:
    cache, _ = shared_pair
    assert await cache.get_or_set("k", Failing(), ttl=0.02, grace=60) == "loaded"
    await asyncio.sleep(0.05)
    assert await cache.get_or_set("k", Failing(_missing()), grace=60, errors=ERRORS) == "loaded"
    assert await cache.get("k") == "loaded"


async def test_a_forced_load_puts_what_it_comes_to_in_the_place_of_what_was_there(cache: Cache) -> None:
    @cache.cached("k", errors=ERRORS)
    async def function() -> str:
        return await loader()

    loader = Failing(_missing())
    with pytest.raises(NotFound):
        await function()
    assert await function.refresh() == "loaded"
    assert await function() == "loaded"
    loader.errors = [_missing()]
    with pytest.raises(NotFound):
        await function.refresh()
    with pytest.raises(NotFound):
        await function()
    assert loader.calls == 3
    assert await function.get() is None


async def test_functions_of_all_kinds_remember(cache: Cache) -> None:
    calls = []

    class Users:
        @cache.cached("method:{n}", errors=ERRORS, tags=["u:{n}", "of:{result}"], as_=str)
        async def find(self, n: int) -> str:
            calls.append(n)
            raise NotFound("user", number=n)

        @cache.cached("sync:{n}", errors={NotFound: "1m", LookupError: 5})
        def look(self, n: int) -> str:
            calls.append(n)
            raise LookupError(n)

    for _ in range(3):
        with pytest.raises(NotFound, match="no user 1"):
            await Users().find(1)
        with pytest.raises(LookupError):
            await asyncio.to_thread(Users().look, 2)
    assert calls == [1, 2]
    assert Users.find.cache_info() == Users.look.cache_info() == (2, 1)
    await cache.invalidate_tags("u:1")
    with pytest.raises(NotFound):
        await Users().find(1)
    assert calls == [1, 2, 1]


@pytest.mark.memory
@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        HTTPException(404, "no such user", headers={"X": "y"}),
        ConnectionRefusedError(111, "refused"),
        LoadTimeout("late"),
        TimeoutError(),
        ValueError("a", 1, 2.5, None, [True, {"b": []}]),
        _missing(),
    ],
)
async def test_one_made_anew_is_like_the_first(cache: Cache, error: Exception) -> None:
    loader = Failing(copy.copy(error) if not isinstance(error, NotFound) else _missing())
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await cache.get_or_set("k", loader, errors={type(error): 10})
        made = caught.value
        assert (type(made), made.args, vars(made), str(made)) == (type(error), error.args, vars(error), str(error))
    assert loader.calls == 1
    if isinstance(error, OSError):
        assert made.errno == error.errno


@pytest.mark.parametrize(
    "error",
    [
        *map(KeyError, [uuid.UUID(int=1), Colour.RED, (1, 2), object(), 2**70, float("nan"), b"x"]),
        FileNotFoundError(2, "no such file", "name"),
    ],
)
async def test_one_that_cannot_be_made_anew_is_raised_and_not_remembered(
    cache: Cache, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "donjon")
    loader = Failing(error)
    with pytest.raises(type(error)) as caught:
        await cache.get_or_set("k", loader, errors={type(error): 10})
    assert caught.value is error
    assert await cache.get_or_set("k", loader, errors={type(error): 10}) == "loaded"
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    assert f"loading k raised {name}, which is not remembered" in caplog.text


@pytest.mark.memory
@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([KeyError], "a dict of exception classes"),
        ({"KeyError": 1}, "derived from Exception"),
        ({KeyboardInterrupt: 1}, "derived from Exception"),
        ({KeyError("k"): 1}, "derived from Exception"),
        ({OtherMade: 1}, "cannot make a OtherMade anew"),
        ({Slotted: 1}, "cannot make a Slotted anew"),
        ({UnicodeDecodeError: 1}, "cannot make a UnicodeDecodeError anew"),
        ({type("Twin", (Exception,), {}): 1, type("Twin", (Exception,), {}): 1}, "cannot be told apart"),
    ],
)
async def test_what_cannot_be_made_anew_is_refused_at_once(cache: Cache, errors: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cache.cached("k", errors=errors)(lambda: 1)
    with pytest.raises(ConfigError, match=said):
        await cache.get_or_set("k", Failing(), errors=errors)


async def test_its_time_to_live_has_to_be_one(cache: Cache) -> None:
    for ttl in (0, True, "nosuch"):
        with pytest.raises(InvalidTtl):
            await cache.get_or_set("k", Failing(), errors={KeyError: ttl})


# -- other processes


@pytest.fixture
def shared_pair(redis_server: RedisServer, namespace: str) -> tuple[Cache, Cache]:
    made = [
        Cache.redis(redis_server.url, namespace=namespace, near=near, early=0.0, **PATIENT) for near in (True, False)
    ]
    return made[0], made[1]


async def test_other_processes_raise_what_one_was_told(redis_server: RedisServer, namespace: str) -> None:
    with OtherProcess(redis_server.url, namespace) as other:
        ask = "await cache.get_or_set('k', lambda: {}['missing'], errors={KeyError: 60})"
        with pytest.raises(AssertionError, match="KeyError: 'missing'"):
            other.ask(ask)
    for near in (True, False):
        cache = Cache.redis(redis_server.url, namespace=namespace, near=near, **PATIENT)
        loader = Failing()
        with pytest.raises(KeyError, match="missing"):
            await cache.get_or_set("k", loader, errors={KeyError: 60})
        assert loader.calls == 0
        assert await cache.get("k") is None
        await cache.close()


async def test_memory_in_front_forgets_the_value_that_an_error_replaces(shared_pair: tuple[Cache, Cache]) -> None:
    near, other = shared_pair
    assert await near.get_or_set("k", Failing()) == await near.get("k") == "loaded"
    with pytest.raises(NotFound):
        await other.get_or_set("k", Failing(_missing()), force_refresh=True, errors=ERRORS)

    async def forgotten() -> None:
        while await near.get("k") is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await asyncio.wait_for(forgotten(), 10)
    with pytest.raises(NotFound):
        await near.get_or_set("k", Failing(), errors=ERRORS)


async def test_what_others_wrote_there_makes_nothing(
    shared_pair: tuple[Cache, Cache], redis_server: RedisServer
) -> None:
    _, cache = shared_pair
    client = redis_server.client()
    await _remembered(cache)
    name = f"{cache.namespace}:k"
    good = client.get(name)
    kept = f'["{__name__}.NotFound",["no user 7"],{{"kind":"user","number":7}}]'.encode()
    assert isinstance(good, bytes) and good.endswith(kept)
    mapped = b'["builtins.OSError",[2,"made into one that is not declared"],{}]'
    unfit = b'["pydantic_core._pydantic_core.ValidationError",[],{}]'
    errors: Any = {NotFound: 10, OSError: 10, ValidationError: 10}
    for said in (b'["os.system",["true"],{}]', b"[]", b"null", b"{", b'["a"]', b"[1,[],{}]", mapped, unfit):
        meta = good[:40] + len(said).to_bytes(4, "big")
        client.set(name, meta + said)
        assert await cache.get_or_set("k", Failing(), errors=errors) == "loaded"
        await cache.delete("k")
