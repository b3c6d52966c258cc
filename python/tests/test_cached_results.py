"""What a cached function does by what was returned: times to live, conditions, tags; and values put in and out by hand."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loaders import PATIENT, elsewhere
from pydantic import BaseModel

from donjon import Cache, DecodeError, InvalidTag, InvalidTtl
from donjon._donjon import ManualClock
from redis_server import RedisServer


class User(BaseModel):
    id: int
    team: str = "a"
    born: datetime.date = datetime.date(2000, 1, 1)


async def test_a_time_to_live_is_of_what_was_returned(cache: Cache) -> None:
    @cache.cached("one:{n}", ttl=lambda result: result)
    async def one(n: int) -> int:
        return n

    @cache.cached("both:{n}", ttl=lambda result, n, unit="s": f"{result}{unit}")
    async def both(n: int, unit: str = "s") -> int:
        return n

    @cache.cached("usual:{n}", ttl=lambda result: None)
    async def usual(n: int) -> int:
        return n

    await one(100), await both(200), await both(2, unit="h"), await usual(1)
    for key, seconds in (("one:100", 100), ("both:200", 200), ("both:2", 7_200), ("usual:1", 300)):
        ttl = await cache.ttl(key)
        assert ttl is not None and seconds - 30 < ttl <= seconds


async def test_a_time_to_live_that_is_none_is_an_error_and_stores_nothing(cache: Cache) -> None:
    @cache.cached("k", ttl=lambda result: 0)
    async def function() -> int:
        return 1

    with pytest.raises(InvalidTtl):
        await function()
    assert not await cache.exists("k")


async def test_none_may_live_for_another_time(clock: ManualClock, cache: Cache) -> None:
    calls = []

    @cache.cached("user:{user_id}", ttl="1h", grace="1h", none_ttl=10)
    async def find(user_id: int) -> User | None:
        calls.append(user_id)
        return User(id=user_id) if user_id > 0 else None

    assert (await find(1), await find(0), await find(0)) == (User(id=1), None, None)
    clock.advance(10)
    assert (await find(1), await find(0)) == (User(id=1), None)
    assert calls == [1, 0, 0]
    with pytest.raises(InvalidTtl):
        cache.cached("k", none_ttl=0)(find.__wrapped__)


async def test_what_fails_the_condition_is_returned_and_not_stored(cache: Cache) -> None:
    calls = []

    @cache.cached("user:{user_id}", condition=lambda user: user.team != "hidden")
    async def find(user_id: int, team: str) -> User:
        calls.append(team)
        return User(id=user_id, team=team)

    for _ in range(2):
        assert await find(1, "hidden") == User(id=1, team="hidden")
    assert await find(1, "a") == await find(1, "b") == User(id=1)
    assert calls == ["hidden", "hidden", "a"]
    assert cache.stats().too_large == 0


async def test_who_waits_for_what_is_not_stored_gets_it_all_the_same(
    cache: Cache, spin: Callable[[], Awaitable[None]]
) -> None:
    calls, gate = [], asyncio.Event()

    @cache.cached("user:{user_id}", condition=lambda user, user_id: False, tags=["users"])
    async def find(user_id: int) -> User:
        calls.append(user_id)
        await gate.wait()
        return User(id=user_id)

    tasks = [elsewhere(find(1)) for _ in range(5)]
    await spin()
    gate.set()
    assert await asyncio.gather(*tasks) == [User(id=1)] * 5
    assert calls == [1]
    assert not await cache.exists("user:1")


async def test_a_refresh_that_fails_the_condition_removes_what_was_there(cache: Cache) -> None:
    results = [1, 0]

    @cache.cached("k", condition=bool)
    async def function() -> int:
        return results.pop(0)

    assert await function() == 1
    assert await function.refresh() == 0
    assert not await cache.exists("k")


async def test_tags_are_of_the_arguments_and_of_what_was_returned(cache: Cache) -> None:
    @cache.cached(
        "user:{user_id}",
        tags=[
            "users",
            "user:{user_id}",
            "team:{result.team}",
            lambda user: [f"born:{user.born.year}"],
            lambda user: "x",
        ],
    )
    async def find(user_id: int) -> User:
        return User(id=user_id, team=f"team {user_id}")

    await find(1), await find(2)
    tags = (await cache.explain("user:1"))["tags"]
    assert sorted(tags) == ["born:2000", "team:team 1", "user:1", "users", "x"]
    await cache.invalidate_tags("team:team 1")
    assert not await cache.exists("user:1")
    assert await cache.exists("user:2")
    await cache.invalidate_tags("x")
    assert not await cache.exists("user:2")


async def test_a_tag_that_the_result_has_and_that_was_invalidated_during_the_load_refuses_it(
    cache: Cache, spin: Callable[[], Awaitable[None]]
) -> None:
    gate = asyncio.Event()

    @cache.cached("user:{user_id}", tags=["team:{result.team}"])
    async def find(user_id: int) -> User:
        await gate.wait()
        return User(id=user_id)

    task = asyncio.create_task(find(1))
    await spin()
    await cache.invalidate_tags("team:a")
    gate.set()
    assert await task == User(id=1)
    assert not await cache.exists("user:1")


async def test_a_parameter_named_result_is_the_argument(cache: Cache) -> None:
    @cache.cached("k:{result}", tags=["tag:{result}"])
    async def function(result: int) -> int:
        return result + 1

    assert await function(1) == 2
    assert (await cache.explain("k:1"))["tags"] == ["tag:1"]


async def test_bad_tags_of_a_result_store_nothing(cache: Cache) -> None:
    @cache.cached("k", tags=[lambda result: "*"])
    async def function() -> int:
        return 1

    with pytest.raises(InvalidTag):
        await function()
    assert not await cache.exists("k")


async def test_what_is_stored_can_be_had_without_a_load(cache: Cache) -> None:
    @cache.cached("user:{user_id}")
    async def find(user_id: int) -> User:
        return User(id=user_id)

    @cache.cached("sync:{user_id}")
    def find_sync(user_id: int) -> User:
        return User(id=user_id)

    assert await find.get(1) is None
    assert await asyncio.to_thread(find_sync.get, 1) is None
    await find(1)
    await asyncio.to_thread(find_sync, 1)
    assert await find.get(1) == await asyncio.to_thread(find_sync.get, 1) == User(id=1)
    await cache.set("user:1", {"id": "none"})
    assert await find.get(1) is None


async def test_a_value_can_be_stored_in_the_place_of_a_call(clock: ManualClock, cache: Cache) -> None:
    @cache.cached("user:{user_id}", ttl=lambda user: user.id, tags=["team:{result.team}"], condition=lambda user: False)
    async def find(user_id: int) -> User:
        raise AssertionError("it is there")

    @cache.cached("plain:{user_id}")
    def plain(user_id: int) -> int:
        raise AssertionError("it is there")

    await find.set(User(id=50), user_id=5)
    assert await find(5) == User(id=50)
    assert await cache.ttl("user:5") == 50
    assert (await cache.explain("user:5"))["tags"] == ["team:a"]
    plain.set(7, 1)
    assert plain(1) == 7
    with pytest.raises(DecodeError):
        await find.set("nobody", 5)  # type: ignore[arg-type]


async def test_methods_have_all_of_it(cache: Cache) -> None:
    class Users:
        team = "b"

        @cache.cached("user:{self.team}:{user_id}", tags=["team:{result.team}"])
        async def find(self, user_id: int) -> User:
            return User(id=user_id, team=self.team)

    users = Users()
    assert users.find.key(1) == "user:b:1"
    assert await users.find.get(1) is None
    await users.find.set(User(id=9), 1)
    assert await users.find(1) == await users.find.get(1) == User(id=9)
    assert await users.find.refresh(1) == User(id=1, team="b")
    assert await users.find.invalidate(1)
    assert await users.find.get(1) is None


async def test_a_mode_is_that_of_every_call(cache: Cache) -> None:
    for mode in ("local", "strong"):

        @cache.cached("k:{n}", mode=mode)  # type: ignore[arg-type]
        async def function(n: int) -> int:
            return n

        assert await function(1) == await function(1) == 1
    with pytest.raises(ValueError, match="mode"):
        cache.cached("k", mode="weak")(lambda: 1)  # type: ignore[call-overload]


async def test_functions_of_the_result_see_what_was_returned_itself(cache: Cache) -> None:
    seen: list[Any] = []
    value = User(id=1)

    @cache.cached("k", ttl=lambda result: seen.append(result))
    async def function() -> User:
        return value

    await function()
    assert seen[0] is value


async def test_a_strong_function_is_not_answered_by_memory_in_front(redis_server: RedisServer, namespace: str) -> None:
    async def function(n: int) -> int:
        return n

    async with Cache.redis(redis_server.url, namespace=namespace, near=True, early=0.0, **PATIENT) as cache:
        local = cache.cached("k:{n}")(function)
        strong = cache.cached("k:{n}", mode="strong")(function)
        while not cache.stats().memory_hits:
            assert await local(1) == 1
        before = cache.stats().memory_hits
        assert await strong(1) == 1
        assert cache.stats().memory_hits == before
        assert await local(1) == 1
        assert cache.stats().memory_hits == before + 1
