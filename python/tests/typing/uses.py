"""Typical uses, for type checkers: see test_typing.py, which runs them over this file and reads the comments.

A comment that begins with `is` says what is revealed on its line, `wrong` that something has to be found wrong there. All other lines
have to be found right.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel
from typing_extensions import TypedDict, reveal_type

from donjon import Cache, Hit, NoKey, get_cache

cache: Cache = get_cache()


class User(BaseModel):
    id: int
    team: str


class Row(TypedDict):
    id: int


class Client: ...


@cache.cached("user:{user_id}", ttl=timedelta(minutes=5), tags=["user:{user_id}", "team:{result.team}"])
async def get_user(user_id: int, *, verbose: bool = False) -> User:
    return User(id=user_id, team="a")


@cache.cached
async def count(client: Annotated[Client, NoKey], words: str) -> int:
    return len(words)


@cache.cached(ttl=lambda rows: 60, none_ttl=1, condition=bool, grace="1h", mode="strong")
def rows(page: int = 1) -> list[Row] | None:
    return [{"id": page}]


@cache.cached(grace=60, refresh="background", soft_timeout=0.5, timeout=5, errors={LookupError: "30s", OSError: 5})
async def rates(currency: str) -> dict[str, float]:
    return {currency: 1.0}


class Users:
    @cache.cached("team:{team}")
    async def of_team(self, team: str) -> list[User]:
        return []

    @cache.cached("first:{team}")
    def first(self, team: str) -> User | None:
        return None


async def calls(users: Users) -> None:
    reveal_type(get_user)  # is CachedCoroutine[(user_id: int, *, verbose: bool), User]
    reveal_type(rows)  # is CachedFunction[(page: int), list[Row] | None]
    reveal_type(users.of_team)  # is CachedCoroutine[(team: str), list[User]]
    plain: Callable[[int], Coroutine[Any, Any, User]] = get_user
    await plain(5)
    reveal_type(await get_user(5))  # is User
    reveal_type(await get_user(user_id=5, verbose=True))  # is User
    reveal_type(await get_user.refresh(5))  # is User
    reveal_type(await get_user.get(5))  # is User | None
    reveal_type(await get_user.set(User(id=5, team="a"), 5))  # is None
    reveal_type(await get_user.invalidate(5))  # is Removed
    reveal_type(get_user.key(5))  # is str
    reveal_type(get_user.cache_info())  # is CacheInfo
    reveal_type(await get_user.__wrapped__(5))  # is User
    await get_user("5")  # wrong
    await get_user()  # wrong
    await get_user(5, loud=True)  # wrong
    await get_user.refresh("5")  # wrong
    await get_user.set("nobody", 5)  # wrong
    get_user.key(None)  # wrong

    reveal_type(await count(Client(), "a"))  # is int
    reveal_type(await rates("EUR"))  # is dict[str, float]
    reveal_type(rows())  # is list[Row] | None
    reveal_type(rows.get(page=2))  # is list[Row] | None
    reveal_type(rows.invalidate(2))  # is Removed

    reveal_type(await users.of_team("a"))  # is list[User]
    reveal_type(await users.of_team.get("a"))  # is list[User] | None
    reveal_type(users.first("a"))  # is User | None
    reveal_type(users.first.key("a"))  # is str
    reveal_type(await Users.of_team(users, "a"))  # is list[User]
    await users.of_team(5)  # wrong

    cache.cached("k", refresh="later")  # wrong
    cache.cached("k", mode="weak")  # wrong
    cache.cached("k", ttl=object())  # wrong
    cache.cached(5)  # wrong


async def by_hand(keys: Sequence[str]) -> None:
    reveal_type(await cache.get("k"))  # is Any
    reveal_type(await cache.get("k", as_=User))  # is User | None
    reveal_type(await cache.get("k", "default", as_=User))  # is User | str
    reveal_type(await cache.get_or_set("k", lambda: 5, as_=User))  # is User
    reveal_type(await cache.get_many(keys))  # is dict[str, Any]
    reveal_type(await cache.ttl("k"))  # is float | None
    reveal_type(cache.sync.get("k", as_=User))  # is User | None
    reveal_type(await cache.incr("k"))  # is int
    async with await cache.lookup("k") as found:
        if isinstance(found, Hit):
            reveal_type(found)  # is Hit
        else:
            reveal_type(await cache.fill(found, 5))  # is bool
    async with cache.lock("job", ttl="5m") as held:
        reveal_type(held.fence)  # is int
    async for message in cache.subscribe("jobs"):
        reveal_type(message)  # is Message
    await cache.set(5, "value")  # wrong
    await cache.get("k", mode="weak")  # wrong
