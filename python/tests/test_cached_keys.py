"""Keys of cached functions: parts of arguments, and arguments that are no part of a key."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypedDict

import pytest
from fastapi import BackgroundTasks, Depends, Request, Security, WebSocket
from pydantic import BaseModel
from pydantic_settings import BaseSettings
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from donjon import Cache, InvalidKey, InvalidTemplate, NoKey

if TYPE_CHECKING:
    from nowhere import AsyncConnection, Helper  # type: ignore[import-not-found]


@dataclasses.dataclass
class User:
    id: int
    team: Any = None


def get_session() -> None: ...


def whoever() -> None: ...


class Service:
    """It does something."""


class Settings(BaseSettings):
    pass


INJECTED: Any = Depends(get_session)
SECURE: Any = Security(whoever)
SessionDep = Annotated[AsyncSession, Depends(get_session)]
ServiceDep = Annotated[Service, Depends(whoever)]
UserDep = Annotated[User, Depends(whoever)]
SettingsDep = Annotated[Settings | None, Depends(whoever)]


def test_a_template_reaches_into_arguments(cache: Cache) -> None:
    @cache.cached("user:{user.id}:{user.team.name}:{user_id}", tags=["team:{user.team.name}"])
    def function(user: User, user_id: int = 7) -> int:
        return user_id

    user = User(5, SimpleNamespace(name="a:b"))
    assert function.key(user) == function.key(user=user) == "user:5:a%3Ab:7"
    assert function(user) == 7
    assert cache.sync.explain("user:5:a%3Ab:7")["tags"] == ["team:a%3Ab"]


def test_what_a_template_does_not_reach_is_named(cache: Cache) -> None:
    @cache.cached("user:{user.team.name}")
    def function(user: User) -> int:
        return 1

    with pytest.raises(InvalidKey, match=r"'user\.team\.name'.*function.*name"):
        function(User(5))
    with pytest.raises(InvalidKey, match=r"argument 'user\.team\.name'.*float"):
        function(User(5, SimpleNamespace(name=1.5)))
    with pytest.raises(InvalidTemplate, match="'other'"):
        cache.cached("user:{other.id}")(lambda user: 1)
    with pytest.raises(InvalidTemplate, match=r"user\.class"):
        cache.cached("user:{user.class}")(lambda user: 1)
    for template in ("user:{user.}", "user:{.id}", "user:{user..id}", "user:{user.0}"):
        with pytest.raises(InvalidTemplate):
            cache.cached(template)(lambda user: 1)


def test_an_automatic_key_leaves_out_what_is_only_a_means(cache: Cache) -> None:
    @cache.cached
    async def function(
        request: Request,
        socket: WebSocket | None,
        session: AsyncSession,
        other: Optional[Session],  # noqa: UP045
        later: BackgroundTasks,
        dependency: SessionDep,
        service: ServiceDep,
        connection: AsyncConnection,
        helper: Annotated[Helper, NoKey],
        item_id: int,
        old: Any = INJECTED,
        secure: Any = SECURE,
        marked: Annotated[object, NoKey] = None,
        made: Annotated[object, NoKey()] = None,
    ) -> int:
        return item_id

    nothing: list[Any] = [object() for _ in range(9)]
    key = function.key(*nothing, 5)
    assert key == function.key(*reversed(nothing), 5, object(), object(), object(), object())
    assert key.endswith("function:5")
    assert key != function.key(*nothing, 6)


def test_an_automatic_key_of_a_method_leaves_out_its_instance(cache: Cache) -> None:
    class Repository:
        @cache.cached
        def find(self, user_id: int) -> int:
            return user_id

        @cache.cached()
        async def find_other(self, user_id: int) -> int:
            return user_id

    first, second = Repository(), Repository()
    assert first.find(5) == second.find(5) == 5
    assert first.find.key(5) == second.find.key(5) != first.find.key(6)
    assert first.find.key(5) != first.find_other.key(5)
    assert Repository.find.cache_info() == (1, 1)


def test_what_fastapi_injects_is_left_out_aloud(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "donjon"):

        @cache.cached
        def quiet(session: SessionDep, request: Request, user: Annotated[User, Depends(whoever), NoKey]) -> int:
            return 1

        assert not caplog.records

        @cache.cached("me:{user.id}")
        def named(user: UserDep) -> int:
            return 1

        assert not caplog.records

        @cache.cached
        def loud(service: Annotated[Service, Depends(whoever)], session: SessionDep) -> int:
            return 1

    (record,) = caplog.records
    assert "loud" in record.message and "service" in record.message and "NoKey" in record.message
    assert loud.key(Service(), None).endswith("loud")


def test_who_is_injected_is_never_left_out_unsaid(cache: Cache) -> None:
    class Row(DeclarativeBase):
        pass

    class Member(Row):
        __tablename__ = "members"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Model(BaseModel):
        id: int

    class Typed(TypedDict):
        id: int

    for kind in (User, Member, Model, Typed, dict, dict[str, int], User | None):

        def function(user: Any) -> int:
            return 1

        for injected in (Annotated[kind, Depends(whoever)], Annotated[kind, Security(whoever)]):
            function.__annotations__["user"] = injected
            with pytest.raises(InvalidTemplate, match=r'\'user\'.*"function:\{user\.id\}".*NoKey'):
                cache.cached(function)


def test_what_is_injected_and_has_a_stable_text_is_part_of_the_key(cache: Cache) -> None:
    @cache.cached
    def function(
        user_id: Annotated[int | None, Depends(whoever)], team: str = SECURE, settings: SettingsDep = None
    ) -> int:
        return 1

    assert function.key(5, "a") != function.key(6, "a") != function.key(6, "b")
    assert function.key(5, "a", Settings()) == function.key(5, "a")


def test_an_argument_without_a_stable_key_says_what_to_do(cache: Cache) -> None:
    @cache.cached
    def function(client: object, item_id: int) -> int:
        return item_id

    with pytest.raises(InvalidKey, match=r"argument 'client'.*stable.*template.*NoKey"):
        function(object(), 5)
    assert function.cache_info() == (0, 0)


async def test_parameters_may_have_any_name_and_any_kind(cache: Cache) -> None:
    @cache.cached("k:{value}:{key}:{type}:{plan}")
    async def function(value: int, /, key: int, *args: int, type: int = 3, plan: int = 4, **kwargs: int) -> list[Any]:  # noqa: A002
        return [value, key, list(args), type, plan, kwargs]

    assert await function(1, 2, 8, 9, plan=5, memory=6) == [1, 2, [8, 9], 3, 5, {"memory": 6}]
    assert await function(1, 2, plan=5) == [1, 2, [8, 9], 3, 5, {"memory": 6}]
    assert await function.__wrapped__(1, 2) == [1, 2, [], 3, 4, {}]
    with pytest.raises(TypeError, match=r"function.*missing.*key"):
        function(1)
