"""Cached functions: keys, arguments, types, and what hangs on them."""

from __future__ import annotations

import asyncio
import datetime
import enum
import inspect
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from loaders import Loader
from pydantic import BaseModel, Field

import donjon
from donjon import Cache, CacheInfo, ConfigError, DecodeError, InvalidKey, InvalidTemplate
from donjon._compile import template_key
from donjon._donjon import ManualClock, Template
from donjon._keys import part

if TYPE_CHECKING:
    from nowhere import Session, Unknown  # type: ignore[import-not-found]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class User(BaseModel):
    id: int
    name: str


async def test_an_async_function_stays_one(cache: Cache) -> None:
    calls = []

    @cache.cached("user:{user_id}", ttl=10)
    async def get_user(user_id: int, verbose: bool = False) -> dict[str, int]:
        """Finds a user."""
        calls.append(user_id)
        return {"id": user_id}

    assert inspect.iscoroutinefunction(get_user)
    assert (get_user.__name__, get_user.__doc__) == ("get_user", "Finds a user.")
    assert str(inspect.signature(get_user)) == "(user_id: 'int', verbose: 'bool' = False) -> 'dict[str, int]'"
    assert await get_user(1) == await get_user(user_id=1) == await get_user(1, verbose=True) == {"id": 1}
    assert await get_user.__wrapped__(2) == {"id": 2}
    assert calls == [1, 2]
    assert get_user.cache_info() == CacheInfo(hits=2, misses=1)


def test_a_plain_function_stays_one(cache: Cache) -> None:
    calls = []

    @cache.cached("square:{n}")
    def square(n: int) -> int:
        calls.append(n)
        return n * n

    assert square(3) == square(n=3) == 9
    assert calls == [3]
    assert cache.sync.get("square:3") == 9
    assert square.cache_info() == (1, 1)


async def test_without_parentheses_or_template_every_argument_counts(cache: Cache) -> None:
    @cache.cached
    async def one(a: int, b: str = "x", *, c: Color | None = None) -> list[Any]:
        return [a, b, None if c is None else c.name]

    @cache.cached()
    def other(a: int) -> int:
        return a

    assert await one(1) == await one(1, "x") == await one(a=1, b="x", c=None)
    assert one.cache_info() == (2, 1)
    assert await one(1, c=Color.RED) == [1, "x", "RED"]
    assert one.key(1) == one.key(1, "x") != one.key(1, "y")
    assert other(1) == 1
    assert other.key(1) != one.key(1)
    assert __name__ in one.key(1)


async def test_automatic_keys_never_mix_types_up(cache: Cache) -> None:
    @cache.cached
    async def function(value: Any) -> str:
        return repr(value)

    class Other(enum.Enum):
        RED = "red"

    moment = datetime.datetime(2026, 1, 1)
    values = [
        1,
        "1",
        True,
        "true",
        "True",
        None,
        "None",
        "null",
        "%null",
        "",
        Color.RED,
        Other.RED,
        "red",
        uuid.UUID(int=1),
    ]
    values += [
        str(uuid.UUID(int=1)),
        moment,
        moment.date(),
        str(moment.date()),
        "a:b",
        "a%3Ab",
        2**70,
        -1,
        "'1'",
        "''1''",
    ]
    assert len({function.key(value) for value in values}) == len(values)
    for value in values:
        assert await function(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (-5, "-5"),
        (2**80, str(2**80)),
        (True, "true"),
        ("ada", "ada"),
        ("a:b%", "a%3Ab%25"),
        ("", ""),
        ("null", "null"),
        (None, "%null"),
        (Color.RED, "red"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc), "2026-01-31T12%3A00%3A00+00%3A00"),
    ],
    ids=repr,
)
def test_templates_write_each_type_in_one_way(cache: Cache, value: Any, text: str) -> None:
    @cache.cached("k:{value}:end")
    def function(value: Any) -> int:
        return 1

    assert function.key(value) == f"k:{text}:end" == donjon.key("k", value, "end")


@pytest.mark.parametrize(
    "value", ["é" * 32, "é" * 33, "𝔘" * 32, "x" * 128, "x" * 129, "x:y" * 60, "²", "a b", "*", "{}", "\n", "'", "\\"]
)
def test_compiled_keys_are_those_of_the_core(value: str) -> None:
    def function(a: str, b: object) -> None: ...

    text = "x:{a}:{b}:{a}'\\n{b}"
    assert template_key(function, text)(value, 5) == Template(text).render({"a": value, "b": "5"})
    assert template_key(function, "literal%:")(value, 5) == Template("literal%:").render({})


def test_a_huge_number_is_a_part_like_any_other(cache: Cache) -> None:
    @cache.cached("k:{value}")
    def function(value: int) -> int:
        return 1

    for value in (10**127, 10**128, -(10**200), 2**62, -(2**62)):
        assert function.key(value) == donjon.key("k", value) == donjon.key("k", str(value))


@pytest.mark.parametrize("value", [1.5, b"x", [1], object(), {"a": 1}, int], ids=lambda value: type(value).__name__)
async def test_what_has_no_stable_text_is_named(cache: Cache, value: Any) -> None:
    @cache.cached("f:{a}")
    async def by_template(a: Any) -> int:
        return 1

    @cache.cached
    async def automatic(a: Any) -> int:
        return 1

    for function in (by_template, automatic):
        with pytest.raises(InvalidKey, match=f"argument 'a' of .*{function.__name__}.*{type(value).__name__}"):
            await function(value)
        assert function.cache_info() == (0, 0)


def test_a_template_has_to_fit_the_function(cache: Cache) -> None:
    def function(a: int, *args: int, **kwargs: int) -> int:
        return a

    for template in ("f:{b}", "f:{args}", "f:{kwargs}", "f:{a"):
        with pytest.raises(InvalidTemplate):
            cache.cached(template)(function)
    with pytest.raises(InvalidTemplate):
        cache.cached("f:{a}", tags=["t:{b}"])(function)
    with pytest.raises(InvalidTemplate, match="any number"):
        cache.cached(function)
    with pytest.raises(TypeError, match="tags"):
        cache.cached("f:{a}", tags="t")(function)
    with pytest.raises(TypeError, match="key template"):
        cache.cached(5)(function)  # type: ignore[call-overload]
    assert cache.cached("f:{a}")(function)(1, 2, 3, x=4) == 1


def test_only_functions_that_return_one_value_can_be_cached(cache: Cache) -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def generator_too() -> AsyncIterator[int]:
        yield 1

    for function in (generator, generator_too):
        with pytest.raises(TypeError, match="yields"):
            cache.cached("f")(function)
    with pytest.raises(TypeError, match="functions"):
        cache.cached("f")(int)


def test_wrong_arguments_fail_as_they_do_without_the_cache(cache: Cache) -> None:
    @cache.cached("f:{a}")
    def function(a: int, /, b: int = 1, *, c: int = 2) -> list[int]:
        return [a, b, c]

    for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"d": 1}), ((), {"a": 1})]:
        with pytest.raises(TypeError) as plain:
            function.__wrapped__(*args, **kwargs)
        with pytest.raises(TypeError) as cached:
            function(*args, **kwargs)
        assert str(cached.value) == str(plain.value)
    assert function(1, c=5) == [1, 1, 5]


def test_parameters_may_have_any_names(cache: Cache) -> None:
    @cache.cached("f:{type}:{str}:{len}:{part}")
    def function(type: int, str: str, len: int, part: int = 4, int: object = None) -> list[Any]:  # noqa: A002
        return [type, str, len, part]

    assert function(1, "a:", 3) == [1, "a:", 3, 4]
    assert function.key(1, "a:", 3) == "f:1:a%3A:3:4"


async def test_invalidate_refresh_and_key(cache: Cache) -> None:
    answers = iter(range(100))

    @cache.cached("f:{a}", tags=["all", "a:{a}"])
    async def function(a: int) -> int:
        return next(answers)

    assert await function(5) == 0
    assert function.key(5) == "f:5"
    assert await function.invalidate(5) == 1
    assert await function.invalidate(5) == 0
    assert await function(5) == 1
    assert await function.refresh(a=5) == 2
    assert await function(5) == 2
    await cache.invalidate_tags("a:6")
    assert await function(5) == 2
    await cache.invalidate_tags("a:5")
    assert await function(5) == 3
    await cache.invalidate_tags("all")
    assert await function(5) == 4


def test_a_plain_function_is_invalidated_and_refreshed_plainly(cache: Cache) -> None:
    answers = iter(range(100))

    @cache.cached("f:{a}")
    def function(a: int) -> int:
        return next(answers)

    assert (function(1), function(1)) == (0, 0)
    assert function.invalidate(1) == 1
    assert (function(1), function.refresh(1), function(1)) == (1, 2, 2)


async def test_methods_leave_the_instance_out(cache: Cache) -> None:
    class Service:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.cached("profile:{user_id}")
        async def profile(self, user_id: int) -> str:
            """Finds a profile."""
            return f"{self.name}:{user_id}"

        @cache.cached("plain:{n}")
        def plain(self, n: int) -> str:
            return f"{self.name}:{n}"

        @staticmethod
        @cache.cached("static:{n}")
        def static(n: int) -> int:
            return n

        @classmethod
        @cache.cached("class:{n}")
        def of_class(cls, n: int) -> str:
            return f"{cls.__name__}:{n}"

    one, other = Service("one"), Service("other")
    assert await one.profile(5) == "one:5"
    assert await other.profile(5) == "one:5"
    assert await Service.profile(other, 5) == "one:5"
    assert one.profile.key(5) == "profile:5"
    assert await other.profile.refresh(5) == "other:5"
    assert await one.profile(5) == "other:5"
    assert await one.profile.invalidate(user_id=5) == 1
    assert await one.profile(5) == "one:5"
    assert Service.profile.__doc__ == "Finds a profile."
    assert one.profile.cache_info() == Service.profile.cache_info() == (3, 3)
    assert (one.plain(1), other.plain(1), one.plain.invalidate(1), other.plain(1)) == ("one:1", "one:1", 1, "other:1")
    assert Service.static(1) == one.static(1) == 1
    assert Service.of_class(1) == one.of_class(1) == "Service:1"


async def test_a_recursive_function_ends(cache: Cache) -> None:
    @cache.cached("fib:{n}")
    async def fib(n: int) -> int:
        return n if n < 2 else await fib(n - 1) + await fib(n - 2)

    assert await fib(30) == 832040
    assert fib.cache_info().misses == 31


async def test_calls_at_once_load_once(cache: Cache) -> None:
    loader = Loader({"n": 1})

    @cache.cached("f:{a}")
    async def function(a: int) -> Any:
        return await loader()

    callers = [asyncio.create_task(function(1)) for _ in range(5)]
    await loader.begun.wait()
    loader.go.set()
    assert await asyncio.gather(*callers) == [{"n": 1}] * 5
    assert loader.calls == 1


async def test_switched_off_every_call_calls(cache: Cache) -> None:
    @cache.cached("f")
    async def function() -> int:
        return len(calls.append(1) or calls)  # type: ignore[func-returns-value]

    calls: list[int] = []
    cache.enabled = False
    assert [await function(), await function()] == [1, 2]
    cache.enabled = True
    assert [await function(), await function()] == [3, 3]


# -- types


async def test_the_annotation_is_the_type(cache: Cache) -> None:
    @cache.cached("user:{n}")
    async def user(n: int) -> User | None:
        return User(id=n, name="Ada") if n else None

    @cache.cached("users")
    def users() -> list[User]:
        return [User(id=1, name="Ada")]

    for _ in range(2):
        assert await user(1) == User(id=1, name="Ada")
        assert await user(0) is None
        assert users() == [User(id=1, name="Ada")]


async def test_as_wins_over_the_annotation(cache: Cache) -> None:
    @cache.cached("f", as_=datetime.date)
    async def function() -> Any:
        return datetime.date(2026, 1, 31)

    assert [await function(), await function()] == [datetime.date(2026, 1, 31)] * 2


async def test_annotations_of_parameters_are_never_looked_up(cache: Cache) -> None:
    @cache.cached("f:{n}")
    async def function(session: Session, n: int) -> int:
        return n

    assert await function(object(), 1) == 1


async def test_an_annotation_that_is_not_there_at_run_time_is_named(cache: Cache) -> None:
    @cache.cached("f")
    async def function() -> Unknown:
        return 1

    with pytest.raises(ConfigError, match=r"Unknown.*as_="):
        await function()


async def test_a_type_defined_after_the_function_will_do(cache: Cache) -> None:
    for _ in range(2):
        assert await later() == Later(n=1)


_later_cache = Cache.memory()


@_later_cache.cached("later")
async def later() -> Later:
    return Later(n=1)


class Later(BaseModel):
    n: int


async def test_what_pydantic_knows_nothing_of_is_named(cache: Cache) -> None:
    class Opaque: ...

    @cache.cached("f", as_=Opaque)
    async def function() -> Any:
        return 1

    with pytest.raises(ConfigError, match="Opaque"):
        await function()


async def test_a_stored_value_of_another_shape_is_loaded_anew(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @cache.cached("user:{n}")
    async def user(n: int) -> User:
        return User(id=n, name="Ada")

    await cache.set("user:1", {"id": "hush, not a number"})
    assert await user(1) == User(id=1, name="Ada")
    assert await cache.get("user:1") == {"id": 1, "name": "Ada"}
    assert cache.stats().undecodable == 1
    assert "user:1" in caplog.text
    assert "hush" not in caplog.text


async def test_a_result_of_another_type_is_an_error_and_not_kept(cache: Cache) -> None:
    calls = []

    @cache.cached("user:{n}")
    async def user(n: int) -> User:
        calls.append(n)
        return {"id": "hush"}  # type: ignore[return-value]

    for _ in range(2):
        with pytest.raises(DecodeError, match=r"User.*id"):
            await user(1)
    assert calls == [1, 1]
    assert not await cache.exists("user:1")


async def test_constraints_are_kept_to(cache: Cache) -> None:
    @cache.cached("n:{n}", as_=Annotated[int, Field(gt=0)])
    async def number(n: int) -> int:
        return n

    assert await number(1) == 1
    with pytest.raises(DecodeError):
        await number(-1)


async def test_hits_are_counted_as_such_with_types_too(cache: Cache, clock: ManualClock) -> None:
    @cache.cached("user:{n}", ttl=10)
    async def user(n: int) -> User:
        return User(id=n, name="Ada")

    await user(1)
    await user(1)
    clock.advance(11)
    await user(1)
    assert user.cache_info() == (1, 2)
    assert part(None) == "%null"
