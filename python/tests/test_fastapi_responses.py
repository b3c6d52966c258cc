"""Whole responses in the cache, asked for over HTTP from a real server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest

pytest.importorskip("fastapi")
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from web import serving

from donjon import Cache, ConfigError, InvalidTemplate, InvalidTtl
from donjon._donjon import ManualClock
from donjon.fastapi import CacheDep, CachedRoute, cached_response, lifespan
from donjon.fastapi import _responses as responses

Serve = Callable[[APIRouter], Any]


class Counter:
    """Counts the calls of an endpoint, which answers with the number of its call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture
def count() -> Counter:
    return Counter()


@pytest.fixture
def router() -> APIRouter:
    return APIRouter(route_class=CachedRoute)


@pytest.fixture
async def client(router: APIRouter, cache: Cache) -> AsyncIterator[Any]:
    """Serves the routes once they are all there: when the first request is made."""
    starting: list[Any] = []

    class Late:
        async def _get(self) -> httpx.AsyncClient:
            if not starting:
                app = FastAPI(lifespan=lambda app: lifespan(app, cache))
                app.include_router(router)
                starting.append(serving(app))
                starting.append(await starting[0].__aenter__())
            client: httpx.AsyncClient = starting[1]
            return client

        async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
            return await (await self._get()).request(method, url, **options)

        async def get(self, url: str, **headers: str) -> httpx.Response:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return await self.request("GET", url, headers=names)

    yield Late()
    if starting:
        await starting[0].__aexit__(None, None, None)


def status(response: httpx.Response) -> str:
    said: str = response.headers["cache-status"]
    assert said.startswith("donjon; ")
    return said.removeprefix("donjon; ")


# -- hits


async def test_a_second_request_is_answered_without_the_endpoint(
    router: APIRouter, client: Any, count: Counter
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> dict[str, int]:
        return {"n": count()}

    first, second = await client.get("/n"), await client.get("/n")
    assert first.json() == second.json() == {"n": 1}
    assert status(first) == "fwd=uri-miss; stored"
    assert status(second) in ("hit; ttl=60", "hit; ttl=59")
    assert second.headers["content-type"] == "application/json"
    assert second.headers["age"] == "0"
    assert first.headers["cache-control"] == second.headers["cache-control"] == "max-age=0, must-revalidate"


async def test_a_plain_def_endpoint_is_kept_as_well(router: APIRouter, client: Any, count: Counter) -> None:
    @router.get("/n")
    @cached_response("1m")
    def number() -> int:
        return count()

    assert [(await client.get("/n")).text for _ in range(2)] == ["1", "1"]


async def test_query_and_path_tell_responses_apart(router: APIRouter, client: Any) -> None:
    @router.get("/users/{user_id}")
    @cached_response("1m")
    async def user(user_id: int, full: bool = False) -> list[Any]:
        return [user_id, full]

    for url, answer in (("/users/1", [1, False]), ("/users/2", [2, False]), ("/users/1?full=1", [1, True])):
        assert (await client.get(url)).json() == answer
        assert status(await client.get(url)).startswith("hit")


async def test_hosts_do_not_share_responses(router: APIRouter, client: Any) -> None:
    @router.get("/who")
    @cached_response("1m")
    async def who(request: Request) -> str:
        return request.headers["host"]

    assert (await client.get("/who", host="one.example")).json() == "one.example"
    assert (await client.get("/who", host="two.example")).json() == "two.example"


async def test_twenty_requests_at_once_run_the_endpoint_once(router: APIRouter, client: Any, count: Counter) -> None:
    go_on = asyncio.Event()

    @router.get("/slow")
    @cached_response("1m")
    async def slow() -> int:
        await go_on.wait()
        return count()

    asking = [asyncio.create_task(client.get("/slow")) for _ in range(20)]
    await asyncio.sleep(0)
    go_on.set()
    answers = await asyncio.gather(*asking)
    assert {answer.text for answer in answers} == {"1"}
    assert count.calls == 1


async def test_dependencies_run_on_a_hit_too(router: APIRouter, client: Any, count: Counter) -> None:
    allowed = {"yes"}

    def check(x_key: Annotated[str, Header()]) -> None:
        if x_key not in allowed:
            raise HTTPException(403)

    @router.get("/guarded", dependencies=[Depends(check)])
    @cached_response("1m")
    async def guarded() -> int:
        return count()

    assert (await client.get("/guarded", x_key="yes")).status_code == 200
    assert (await client.get("/guarded", x_key="no")).status_code == 403
    assert (await client.get("/guarded")).status_code == 422
    allowed.clear()
    assert (await client.get("/guarded", x_key="yes")).status_code == 403


async def test_head_is_answered_from_a_kept_get_and_keeps_nothing_itself(
    router: APIRouter, client: Any, count: Counter
) -> None:
    @router.api_route("/n", methods=["GET", "HEAD"])
    @cached_response("1m")
    async def number() -> str:
        count()
        return "some text"

    before = await client.request("HEAD", "/n")
    assert (before.status_code, before.content, status(before)) == (200, b"", "fwd=uri-miss")
    await client.get("/n")
    after = await client.request("HEAD", "/n")
    assert status(after).startswith("hit")
    assert (after.content, after.headers["content-length"]) == (b"", "11")
    assert count.calls == 2


async def test_an_endpoint_on_another_kind_of_route_is_called_each_time(cache: Cache, count: Counter) -> None:
    @cached_response("1m")
    async def number() -> int:
        return count()

    assert [await number(), await number()] == [1, 2]


async def test_a_route_that_is_made_anew_of_anothers_endpoint_looks_up_once(cache: Cache, count: Counter) -> None:
    """As older releases of FastAPI do when a router is included."""

    @cached_response("1m")
    async def number() -> int:
        return count()

    route = CachedRoute("/n", number)
    app = FastAPI(lifespan=lambda app: lifespan(app, cache))
    app.router.routes.append(CachedRoute("/n", route.endpoint))
    async with serving(app) as client:
        assert [(await client.get("/n")).text for _ in range(2)] == ["1", "1"]
    assert inspect.unwrap(route.endpoint) is number


# -- what is never kept


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"set-cookie": "a=b"}, 200),
        ({"cache-control": "private"}, 200),
        ({"cache-control": "max-age=60, no-store"}, 200),
        ({"cache-control": "no-cache"}, 200),
        ({"cache-control": "max-age=0"}, 200),
        ({"vary": "*"}, 200),
        ({"content-range": "bytes 0-1/5"}, 206),
        ({"cache-control": "max-age=60"}, 401),
        ({"cache-control": "max-age=60"}, 403),
        ({"cache-control": "max-age=60"}, 500),
        ({"cache-control": "max-age=60"}, 503),
        ({"expires": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({}, 201),
        ({}, 302),
        ({}, 429),
    ],
)
async def test_a_response_that_is_one_clients_or_no_whole_success_is_not_kept(
    router: APIRouter, client: Any, count: Counter, headers: dict[str, str], code: int
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> Response:
        return PlainTextResponse(str(count()), status_code=code, headers=headers)

    first, second = await client.get("/n"), await client.get("/n")
    assert (first.text, second.text) == ("1", "2")
    assert first.status_code == code
    assert status(first) == "fwd=uri-miss"


@pytest.mark.parametrize(("headers", "code"), [({}, 404), ({}, 410), ({"cache-control": "max-age=60"}, 429)])
async def test_what_is_not_there_is_kept_and_what_says_that_it_may_be(
    router: APIRouter, client: Any, count: Counter, headers: dict[str, str], code: int
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> Response:
        return PlainTextResponse(str(count()), status_code=code, headers=headers)

    assert [(answer.text, answer.status_code) for answer in (await client.get("/n"), await client.get("/n"))] == [
        ("1", code)
    ] * 2


@pytest.mark.parametrize("header", ["authorization", "range", "cookie"])
async def test_a_request_with_what_one_client_has_is_neither_answered_nor_kept(
    router: APIRouter, client: Any, count: Counter, header: str
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> int:
        return count()

    assert (await client.get("/n")).text == "1"
    passed = await client.get("/n", **{header: "bytes=0-"})
    assert (passed.text, status(passed)) == ("2", f"fwd=bypass; detail={header}")
    assert (await client.get("/n")).text == "1"


async def test_public_says_that_cookies_change_nothing(router: APIRouter, client: Any, count: Counter) -> None:
    @router.get("/n")
    @cached_response("1m", public=True, max_age=30)
    async def number() -> int:
        return count()

    first = await client.get("/n", cookie="a=1")
    assert first.headers["cache-control"] == "public, max-age=30"
    assert (await client.get("/n", cookie="a=2")).text == "1"
    assert "cache-control" not in (await client.get("/n", authorization="Basic x")).headers


async def test_a_stream_passes_through_piece_by_piece(router: APIRouter, client: Any, count: Counter) -> None:
    received = asyncio.Event()

    @router.get("/stream")
    @cached_response("1m")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await received.wait()
            yield str(count()).encode()

        return StreamingResponse(pieces())

    http = await client._get()
    for number in (b"1", b"2"):
        received.clear()
        async with http.stream("GET", "/stream") as answer:
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b"one"
            received.set()
            assert await anext(pieces) == number


async def test_nobody_waits_for_a_response_that_is_not_kept(router: APIRouter, client: Any) -> None:
    """All ten are at the endpoint at once, or none of them would ever be answered."""
    arrived = 0
    all_here = asyncio.Event()

    @router.get("/own")
    @cached_response("1m")
    async def own() -> Response:
        nonlocal arrived
        arrived += 1
        if arrived == 11:
            all_here.set()
        if arrived > 1:
            await all_here.wait()
        return PlainTextResponse("own", headers={"cache-control": "private"})

    await client.get("/own")
    answers = await asyncio.wait_for(asyncio.gather(*(client.get("/own") for _ in range(10))), 30)
    assert {status(answer) for answer in answers} == {"fwd=bypass; detail=not-kept"}


# -- validation


async def test_who_has_it_already_gets_a_304_from_a_hit_and_from_a_miss(
    router: APIRouter, client: Any, cache: Cache
) -> None:
    @router.get("/a")
    @cached_response("1m")
    async def text() -> str:
        return "the same"

    tag = (await client.get("/a")).headers["etag"]
    assert tag.startswith('"')
    for _ in range(2):
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            answer = await client.get("/a", if_none_match=known)
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
            assert answer.headers["cache-control"] == "max-age=0, must-revalidate"
        assert (await client.get("/a", if_none_match='"other"')).status_code == 200
        await cache.clear()
    assert status(await client.get("/a", if_none_match=tag)) == "fwd=uri-miss; stored"


async def test_t08_an_entity_tag_is_of_this_url_alone(router: APIRouter, client: Any) -> None:
    @router.get("/{name}")
    @cached_response("1m")
    async def text(name: str) -> str:
        return "the same"

    tag = (await client.get("/a")).headers["etag"]
    assert (await client.get("/b", if_none_match=tag)).status_code == 200
    assert (await client.get("/a?q=1", if_none_match=tag)).status_code == 200


async def test_an_entity_tag_and_a_date_of_the_endpoints_own_are_respected(router: APIRouter, client: Any) -> None:
    @router.get("/own")
    @cached_response("1m")
    async def own() -> Response:
        modified = "Wed, 21 Oct 2015 07:28:00 GMT"
        return PlainTextResponse("x", headers={"etag": 'W/"mine"', "last-modified": modified})

    for _ in range(2):
        assert (await client.get("/own", if_none_match='W/"mine"')).status_code == 304
        assert (await client.get("/own", if_modified_since="Wed, 21 Oct 2015 07:28:00 GMT")).status_code == 304
        assert (await client.get("/own", if_modified_since="Wed, 21 Oct 2015 07:27:59 GMT")).status_code == 200
        assert (await client.get("/own", if_modified_since="yesterday")).status_code == 200


# -- Vary


async def test_what_a_response_varies_by_tells_requests_apart(router: APIRouter, client: Any, count: Counter) -> None:
    @router.get("/hello")
    @cached_response("1m", vary=["Accept-Language"])
    async def hello(accept_language: Annotated[str, Header()] = "en") -> str:
        return f"{accept_language} {count()}"

    first = await client.get("/hello", accept_language="de")
    assert (first.json(), first.headers["vary"], status(first)) == ("de 1", "accept-language", "fwd=uri-miss; stored")
    assert (await client.get("/hello", accept_language="de")).json() == "de 1"
    other = await client.get("/hello", accept_language="fr")
    assert (other.json(), status(other)) == ("fr 2", "fwd=vary-miss; stored")
    assert (await client.get("/hello", accept_language="fr")).json() == "fr 2"
    assert (await client.get("/hello", accept_language="de")).json() == "de 1"
    assert first.headers["etag"] != other.headers["etag"]


async def test_a_response_that_varies_by_more_than_was_known_is_not_served_for_another(
    router: APIRouter, client: Any
) -> None:
    @router.get("/hello")
    @cached_response("1m")
    async def hello(request: Request) -> Response:
        language, kind = request.headers["accept-language"], request.headers.get("x-kind", "")
        vary = "accept-language" if language == "de" else "accept-language, x-kind"
        return PlainTextResponse(f"{language} {kind}", headers={"vary": vary})

    await client.get("/hello", accept_language="de")
    for _ in range(2):
        assert (await client.get("/hello", accept_language="fr", x_kind="a")).text == "fr a"
        assert (await client.get("/hello", accept_language="fr", x_kind="b")).text == "fr b"
    assert status(await client.get("/hello", accept_language="fr", x_kind="b")).startswith("hit")


async def test_varying_by_cookies_keeps_one_response_for_each(router: APIRouter, client: Any, count: Counter) -> None:
    @router.get("/mine")
    @cached_response("1m", vary=["Cookie"])
    async def mine(user: Annotated[str, Cookie()]) -> str:
        return f"{user} {count()}"

    for _ in range(2):
        assert (await client.get("/mine", cookie="user=ada")).json() == "ada 1"
        assert (await client.get("/mine", cookie="user=bob")).json() == "bob 2"


# -- what a request asks for


async def test_a_request_may_insist_on_a_new_answer_which_others_then_get(
    router: APIRouter, client: Any, count: Counter
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> int:
        return count()

    await client.get("/n")
    anew = await client.get("/n", cache_control="no-cache")
    assert (anew.text, status(anew)) == ("2", "fwd=request; stored")
    assert (await client.get("/n")).text == "2"
    assert (await client.get("/n", pragma="no-cache")).text == "3"
    assert (await client.get("/n", cache_control="max-age=60")).text == "3"
    assert (await client.get("/n", cache_control="max-age=0")).text == "4"
    assert (await client.get("/n", cache_control="min-fresh=61")).text == "5"
    assert (await client.get("/n", cache_control="no-store")).text == "6"
    assert (await client.get("/n")).text == "5"


async def test_only_if_cached_gets_what_is_there_or_a_504(router: APIRouter, client: Any, count: Counter) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> int:
        return count()

    assert (await client.get("/n", cache_control="only-if-cached")).status_code == 504
    assert count.calls == 0
    await client.get("/n")
    assert (await client.get("/n", cache_control="only-if-cached")).text == "1"


async def test_a_responses_own_cache_control_says_how_long_it_is_fresh(
    router: APIRouter, client: Any, cache: Cache
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> Response:
        return JSONResponse(1, headers={"cache-control": "max-age=5, s-maxage=500"})

    answer = await client.get("/n")
    assert answer.headers["cache-control"] == "max-age=5, s-maxage=500"
    key = f"response:{answer.request.url}"
    assert 499 < (await cache.ttl(key) or 0) <= 500


# -- stale


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Callable[[float], None]:
    """Lets time pass, for the cache and for the ages of responses."""
    moment = [1_000_000.0]
    monkeypatch.setattr(responses, "_now", lambda: moment[0])

    def passing(seconds: float) -> None:
        moment[0] += seconds
        clock.advance(seconds)

    return passing


@pytest.mark.memory
async def test_a_stale_response_is_served_while_one_request_makes_a_new_one(
    router: APIRouter, client: Any, count: Counter, passing: Callable[[float], None]
) -> None:
    at_it, go_on = asyncio.Event(), asyncio.Event()

    @router.get("/n")
    @cached_response("1m", grace="1m")
    async def number() -> int:
        if count() > 1:
            at_it.set()
            await go_on.wait()
        return count.calls

    await client.get("/n")
    passing(70)
    refreshing = asyncio.create_task(client.get("/n"))
    await at_it.wait()
    meanwhile = await client.get("/n")
    assert (meanwhile.text, status(meanwhile), meanwhile.headers["age"]) == ("1", "hit; ttl=-10", "70")
    go_on.set()
    assert (await refreshing).text == "2"
    assert (await client.get("/n")).text == "2"


@pytest.mark.memory
@pytest.mark.parametrize("raises", [True, False])
async def test_a_stale_response_is_served_where_making_a_new_one_fails(
    router: APIRouter, client: Any, count: Counter, passing: Callable[[float], None], raises: bool
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> Response:
        if count() > 1:
            if raises:
                raise HTTPException(503)
            return PlainTextResponse("down", status_code=503)
        return PlainTextResponse("1", headers={"cache-control": "max-age=60, stale-if-error=60"})

    await client.get("/n")
    passing(70)
    answer = await client.get("/n")
    assert (answer.status_code, answer.text) == (200, "1")
    assert status(answer) == "hit; ttl=-10; detail=stale-if-error"
    passing(60)
    assert (await client.get("/n")).status_code == 503


@pytest.mark.memory
async def test_what_may_be_served_stale_only_meanwhile_does_not_cover_a_failure(
    router: APIRouter, client: Any, count: Counter, passing: Callable[[float], None]
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> Response:
        headers = {"cache-control": "max-age=60, stale-while-revalidate=600, stale-if-error=30"}
        return PlainTextResponse("n", status_code=200 if count() == 1 else 503, headers=headers)

    await client.get("/n")
    passing(80)
    assert (await client.get("/n")).status_code == 200
    passing(20)
    assert (await client.get("/n")).status_code == 503


@pytest.mark.memory
async def test_what_must_be_revalidated_is_never_served_stale(
    router: APIRouter, client: Any, count: Counter, passing: Callable[[float], None]
) -> None:
    @router.get("/n")
    @cached_response("1m", grace="1m")
    async def number() -> Response:
        return PlainTextResponse(str(count()), headers={"cache-control": "max-age=60, must-revalidate"})

    await client.get("/n")
    passing(61)
    assert (await client.get("/n")).text == "2"


@pytest.mark.memory
async def test_a_clients_own_failure_is_not_covered_by_a_stale_response(
    router: APIRouter, client: Any, count: Counter, passing: Callable[[float], None]
) -> None:
    @router.get("/n")
    @cached_response("1m", grace="1m")
    async def number() -> int:
        if count() > 1:
            raise HTTPException(404, "it is gone")
        return 1

    await client.get("/n")
    passing(70)
    assert (await client.get("/n")).status_code == 404


# -- invalidation


async def test_tags_patterns_and_keys_invalidate_responses_as_they_do_values(
    router: APIRouter, client: Any, cache: Cache, count: Counter
) -> None:
    @router.get("/users/{user_id}")
    @cached_response("1m", tags=["user:{user_id}"], vary=["Accept"])
    async def user(user_id: int) -> int:
        return count()

    url = (await client.get("/users/5")).request.url
    await cache.invalidate_tags("user:6")
    assert (await client.get("/users/5")).text == "1"
    await cache.invalidate_tags("user:5")
    assert (await client.get("/users/5")).text == "2"
    await cache.invalidate_pattern("response:*/users/5")
    assert (await client.get("/users/5")).text == "3"
    await cache.delete(f"response:{url}")
    assert (await client.get("/users/5")).text == "4"


async def test_what_a_url_had_for_other_headers_is_invalidated_with_it(
    router: APIRouter, client: Any, cache: Cache, count: Counter
) -> None:
    @router.get("/n")
    @cached_response("1m", vary=["Accept-Language"])
    async def number() -> int:
        return count()

    url = (await client.get("/n", accept_language="de")).request.url
    await client.get("/n", accept_language="fr")
    await cache.delete(f"response:{url}")
    assert (await client.get("/n", accept_language="de")).text == "3"
    assert (await client.get("/n", accept_language="fr")).text == "4"


async def test_t01_a_response_made_before_an_invalidation_is_not_kept(
    router: APIRouter, client: Any, cache: Cache
) -> None:
    value = "old"
    at_it, go_on = asyncio.Event(), asyncio.Event()

    @router.get("/v")
    @cached_response("1m", tags=["v"])
    async def read() -> str:
        read = value
        at_it.set()
        await go_on.wait()
        return read

    early = asyncio.create_task(client.get("/v"))
    await at_it.wait()
    value = "new"
    await cache.invalidate_tags("v")
    go_on.set()
    assert (await early).json() == "old"
    assert (await client.get("/v")).json() == "new"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_change_of_a_url_that_succeeds_invalidates_what_is_kept_of_it(
    router: APIRouter, client: Any, count: Counter, method: str
) -> None:
    @router.get("/n")
    @cached_response("1m", vary=["Accept"])
    async def number() -> int:
        return count()

    @router.api_route("/n", methods=[method])
    async def change(code: int = 204) -> Response:
        return Response(status_code=code)

    await client.get("/n")
    await client.request(method, "/n?code=204")
    assert (await client.get("/n")).text == "1"
    await client.request(method, "/n")
    assert (await client.get("/n")).text == "2"


@pytest.mark.memory
async def test_a_change_is_answered_as_made_also_where_the_cache_cannot_be_told(
    router: APIRouter, client: Any, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @router.post("/n")
    async def change() -> str:
        await cache.close()
        return "made"

    assert (await client.request("POST", "/n")).json() == "made"
    assert "could not be invalidated" in caplog.text


async def test_the_kill_switch_has_the_endpoint_answer(
    router: APIRouter, client: Any, cache: Cache, count: Counter
) -> None:
    @router.get("/n")
    @cached_response("1m")
    async def number() -> int:
        return count()

    cache.enabled = False
    assert [(await client.get("/n")).text for _ in range(2)] == ["1", "2"]
    assert status(await client.get("/n")) == "fwd=uri-miss"


# -- the cache of the application


async def test_a_route_has_the_cache_that_lifespan_opened_and_the_end_closes_it(cache: Cache) -> None:
    app = FastAPI(lifespan=lambda app: lifespan(app, cache))

    @app.get("/value")
    async def value(cache: CacheDep) -> int:
        return await cache.incr("visits")  # type: ignore[no-any-return]

    async with serving(app) as client:
        assert [(await client.get("/value")).json() for _ in range(2)] == [1, 2]
    assert cache._memory.closed


# -- bad input


@pytest.mark.memory
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ttl": True}, InvalidTtl),
        ({"ttl": float("nan")}, InvalidTtl),
        ({"grace": True}, InvalidTtl),
        ({"max_age": -1}, ConfigError),
        ({"tags": "user"}, TypeError),
        ({"vary": "Accept"}, TypeError),
        ({"tags": ["user:{nobody}"]}, InvalidTemplate),
        ({"tags": ["user:{"]}, InvalidTemplate),
    ],
)
def test_a_wrong_option_is_told_when_the_endpoint_is_marked(options: dict[str, Any], error: type[Exception]) -> None:
    async def endpoint(user_id: int) -> None: ...

    with pytest.raises(error):
        cached_response(**options)(endpoint)


@pytest.mark.memory
def test_what_yields_or_is_no_function_cannot_be_marked() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="streams what it yields"):
        cached_response()(stream)
    with pytest.raises(TypeError, match="above a function"):
        cached_response()(Counter())


async def test_an_unknown_class_of_time_to_live_is_named_at_the_first_request(router: APIRouter, cache: Cache) -> None:
    @router.get("/n")
    @cached_response("statz")
    async def number() -> int:
        return 1

    app = FastAPI(lifespan=lambda app: lifespan(app, cache))
    app.include_router(router)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            with pytest.raises(InvalidTtl, match="stats"):
                await client.get("/n")
