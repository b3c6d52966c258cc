"""Whole responses in the cache: the route class and the decorator that mark them.

Owns the way of a request: look up once its dependencies have let it through, run the endpoint where nothing will do, keep
what came out where HTTP allows it. What HTTP allows is decided in `_http`; who loads and who waits, by the cache.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import ContextVar
from time import time as _now
from typing import Any, NamedTuple, TypeVar

from fastapi import HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from donjon._cache import Cache
from donjon._compile import template_key
from donjon._errors import ConfigError
from donjon._lookup import Miss
from donjon._notices import logger
from donjon._ttl import FOREVER, Ttl, grace_span, span

from ._http import Wanted, etag, lifetime, may_answer, not_modified, varied_by, wanted
from ._kept import PASS, Kept, Varied, parse, response_key, selected, sent
from ._state import current_cache

__all__ = ["CachedRoute", "cached_response"]

F = TypeVar("F", bound=Callable[..., Any])

_POLICY = "__donjon_policy__"
_ANSWERS = "__donjon_answers__"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_VARIED_FOR = 86_400.0  # seconds that a URL is known to vary
_PASS_FOR = 10.0  # seconds in which nobody waits for a response of which the last could not be kept
_FAILED_FOR = 1.0  # the same, where the last one was a failure
_LONGEST = 10 * 365 * 86_400.0  # the longest time to live that is not for ever
_IN_304 = frozenset({"cache-control", "content-location", "date", "etag", "expires", "vary"})


class _Policy(NamedTuple):
    ttl: Ttl | None
    grace: Ttl | None
    tags: Sequence[Callable[..., str]]
    vary: Sequence[str]
    control: str
    public: bool


def cached_response(
    ttl: Ttl | None = None,
    *,
    grace: Ttl | None = None,
    tags: Sequence[str] = (),
    vary: Sequence[str] = (),
    max_age: float = 0.0,
    public: bool = False,
) -> Callable[[F], F]:
    """Marks an endpoint whose responses may be kept for everybody who asks for the same URL.

    Stands below the decorator of the route, whose router has `route_class=CachedRoute`:

        router = APIRouter(route_class=CachedRoute)

        @router.get("/documents/{document_id}")
        @cached_response("5m", tags=["document:{document_id}"])
        async def get_document(document_id: int) -> Document: ...

    Dependencies run on every request, so whom they refuse is refused as ever; the endpoint and the work of writing its answer are
    what a hit saves. The answer must follow from the URL and the headers in `vary`. Never kept, and never answered from what is
    kept: requests with `Authorization`, and those with a `Cookie` unless `public` or `vary=["Cookie"]` says how they are meant;
    never kept are responses with `Set-Cookie`, `Cache-Control: private`, `no-store` or `no-cache`, `Vary: *`, status 206, 401, 403 or from
    500 on, and whatever is streamed. A redirection to elsewhere for now, a 429 and the like have to say themselves that they may be.

    Args:
        ttl: How long a response is fresh where its own `Cache-Control` or `Expires` does not say. None: the cache's default.
        grace: How long after that it is served stale, while one request makes a new one or where that fails. A response may say
            so itself, by `stale-while-revalidate` and `stale-if-error`.
        tags: To invalidate it by; each may name parameters of the endpoint. Its key is `response:` and the URL, so that
            `invalidate_pattern("response:*/documents/*")` reaches it as well.
        vary: Request headers that the answer depends on; sent as `Vary`.
        max_age: Seconds for which browsers and proxies may keep it, out of reach of any invalidation. The default, 0.0, has them
            ask each time, and costs an empty 304 where nothing changed.
        public: The answer is the same whatever cookies a request has.

    Raises:
        InvalidTtl: As for `Cache.set`; the name of a TTL class is looked up at the first request.
        InvalidTemplate: A tag names no parameter of the endpoint.
        ConfigError: `max_age` is negative.
    """
    if isinstance(tags, str) or isinstance(vary, str):
        raise TypeError("tags and vary are lists of texts: put brackets around the one")
    if max_age < 0:
        raise ConfigError(f"`max_age` is seconds from 0 on, not {max_age}")
    span(ttl)
    grace_span(grace)

    def mark(endpoint: F) -> F:
        if not inspect.isfunction(endpoint):
            raise TypeError(f"cached_response stands above a function, not {type(endpoint).__name__}")
        if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
            raise TypeError(f"{endpoint.__qualname__} streams what it yields: only a whole response can be kept")
        control = _control(max_age, public)
        templates = [template_key(endpoint, tag) for tag in tags]
        policy = _Policy(ttl, grace, templates, varied_by(vary), control, public)
        setattr(endpoint, _POLICY, policy)
        return endpoint

    return mark


class CachedRoute(APIRoute):
    """A route whose endpoint `cached_response` may have marked: `APIRouter(route_class=CachedRoute)`.

    After a request that changes something (`POST`, `PUT`, `PATCH`, `DELETE`) and succeeds, what is kept of the very URL is
    invalidated (RFC 9111, section 4.4).
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        policy = getattr(endpoint, _POLICY, None)
        # Including a router may make its routes anew, of what their endpoints are by then.
        asks = policy is None or hasattr(endpoint, _ANSWERS)
        super().__init__(path, endpoint if asks else _answering(endpoint), **options)
        self._policy: _Policy | None = policy

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.method not in _SAFE:
                return await _changing(handler, request)
            policy = self._policy
            if policy is None or request.method not in ("GET", "HEAD"):
                return await handler(request)
            exchange = _Exchange(request, current_cache(request), policy)
            token = _exchange.set(exchange)
            try:
                response = await handler(request)
            except BaseException as error:
                instead = exchange.failed(error)
                if instead is None:
                    raise
                return instead
            finally:
                _exchange.reset(token)
            return await exchange.finish(response)

        return handle


async def _changing(handler: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    response = await handler(request)
    if 200 <= response.status_code < 400 and (key := response_key(request.scope, sent(request.scope))) is not None:
        try:
            await current_cache(request).delete(key)
        except Exception:
            # The change is made, and the answer must say so.
            logger.exception("what is kept of %s could not be invalidated, and may be stale until its ttl ends", key)
    return response


def _answering(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint, asking the cache first. FastAPI calls it once all dependencies have let the request through."""
    awaits = inspect.iscoroutinefunction(endpoint)

    @functools.wraps(endpoint)
    async def answer(*args: Any, **kwargs: Any) -> Any:
        exchange = _exchange.get()
        if exchange is not None:
            found = await exchange.look_up(args, kwargs)
            if found is not None:
                return found
        return await endpoint(*args, **kwargs) if awaits else await run_in_threadpool(endpoint, *args, **kwargs)

    setattr(answer, _ANSWERS, True)
    # Older releases of FastAPI read annotations that are text where this function is, not where the endpoint is.
    with suppress(NameError):
        answer.__signature__ = inspect.signature(endpoint, eval_str=True)  # type: ignore[attr-defined]
    return answer


class _Exchange:
    """One request for a marked endpoint, and what becomes of it."""

    def __init__(self, request: Request, cache: Cache, policy: _Policy) -> None:
        self._request = request
        self._headers = sent(request.scope)
        self._cache = cache
        self._policy = policy
        self._status = ""  # of Cache-Status; empty until the cache was asked
        self._tags: list[str] = []
        self._url: str = ""
        self._wanted = Wanted()
        self._varied: Varied | None = None
        self._miss: Miss | None = None
        self._answered = False
        self._bypassed = False

    async def look_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Response | None:
        """A response that will do; None where the endpoint has to make one."""
        headers, policy = self._headers, self._policy
        self._wanted = wanted(headers.get("cache-control"), headers.get("pragma"))
        url = response_key(self._request.scope, headers)
        if (reason := self._passes(url)) is not None:
            self._status = f"fwd=bypass; detail={reason}"
            self._bypassed = True
            return None
        assert url is not None
        self._url = url
        self._tags = [tag(*args, **kwargs) for tag in policy.tags]
        self._status = "fwd=uri-miss"
        found = await self._read(url)
        key = url
        if isinstance(found, Varied):
            self._varied = found
            self._status = "fwd=vary-miss"
            key = found.key(url, headers)
            found = await self._read(key)
        if isinstance(found, Kept):
            age = found.age(_now())
            if may_answer(found.lifetime, age, self._wanted):
                return self._answer(found)
            self._status = "fwd=request" if age < found.lifetime.fresh else "fwd=stale"
        if found == PASS:
            self._status = "fwd=bypass; detail=not-kept"
            return None
        if self._wanted.only_if_cached:
            self._answered = True
            return Response(status_code=504, headers={"cache-status": "donjon; fwd=uri-miss; detail=only-if-cached"})
        if self._miss is None and not self._only_kept:
            # What is there will not do: only what is made from now on will.
            found = await self._read(key, force_refresh=True)
            if isinstance(found, Kept):
                return self._answer(found)
        return None

    @property
    def _only_kept(self) -> bool:
        """Whether nothing may be loaded for this request: its answer is no answer to a GET, or is not to be made."""
        return self._request.method == "HEAD" or self._wanted.only_if_cached

    def _passes(self, url: str | None) -> str | None:
        """Why this request is none for the cache, if so."""
        headers, policy = self._headers, self._policy
        if url is None:
            return "long-url"
        if "authorization" in headers:
            return "authorization"
        if "cookie" in headers and not policy.public and "cookie" not in policy.vary:
            return "cookie"
        if "range" in headers:
            return "range"
        return "no-store" if self._wanted.no_store else None

    async def _read(self, key: str, force_refresh: bool = False) -> Kept | Varied | bytes | None:
        """What is kept under a key. None, and the right to load in `_miss`, where it is nothing."""
        if self._only_kept:
            return parse(await self._cache.get(key))
        found = await self._cache.lookup(key, force_refresh=force_refresh)
        if isinstance(found, Miss):
            self._miss = found
            return None
        return parse(found.value)

    async def finish(self, response: Response) -> Response:
        """The response to send for what the endpoint gave; keeps it where that is allowed."""
        if self._answered or not self._status:
            return response
        if self._bypassed:
            return _with_status(response, self._status)
        body = getattr(response, "body", None)
        if not isinstance(body, (bytes, memoryview)):
            await self._give_up(_PASS_FOR)
            return _with_status(response, self._status)
        if response.status_code >= 500 and (stale := self._stale()) is not None:
            self._drop(None)
            return self._answer(stale, "stale-if-error")
        return await self._keep(response, bytes(body))

    async def _keep(self, response: Response, body: bytes) -> Response:
        policy, now = self._policy, _now()
        told = response.headers.getlist("cache-control")
        names = varied_by([*response.headers.getlist("vary"), *policy.vary])
        try:
            life = lifetime(
                response.status_code,
                told,
                sets_cookie="set-cookie" in response.headers,
                vary=names,
                expires=response.headers.get("expires"),
                now=now,
                ttl=self._seconds(policy.ttl),
                grace=0.0 if policy.grace is None else self._seconds(policy.grace),
            )
        except BaseException as error:
            self._drop(error)
            raise
        if life is None:
            await self._give_up(_PASS_FOR if response.status_code < 500 else _FAILED_FOR)
            return _with_status(response, self._status)
        if not told and "expires" not in response.headers:
            response.headers["cache-control"] = policy.control
        if policy.vary:
            response.headers["vary"] = ", ".join(names)
        if "etag" not in response.headers and 200 <= response.status_code < 300:
            described = [response.headers.get(name, "") for name in ("content-type", "content-encoding")]
            response.headers["etag"] = etag(self._url, selected(names, self._headers), described, body)
        kept = Kept.of(response.status_code, response.raw_headers, body, now, life)
        stored = await self._store(kept, names)
        status = f"{self._status}; stored" if stored else self._status
        if self._is_known(kept):
            return _not_modified(kept, status, response.background)
        return _with_status(response, status)

    async def _store(self, kept: Kept, names: list[str]) -> bool:
        if self._miss is None:
            return False
        life, tags, cache = kept.lifetime, self._tags, self._cache
        ttl = FOREVER if life.fresh > _LONGEST else life.fresh
        grace = min(life.grace, _LONGEST)
        known = self._varied
        if known is None and not names:
            return await cache.fill(self._miss, kept.dump(), ttl=ttl, grace=grace, tags=tags)
        if known is not None and set(names) <= set(known.names):
            return await cache.fill(self._miss, kept.dump(), ttl=ttl, grace=grace, tags=tags)
        # By more than was known: a new note, which leads to none of the old variants. It has this response's tags, so what
        # invalidates the response between the two steps puts it out of reach.
        varied = Varied.by([*names, *(known.names if known else ())])
        noted_for = FOREVER if life.fresh + grace > _LONGEST else max(_VARIED_FOR, life.fresh + grace)
        if known is not None:
            self._miss.abandon()
            await cache.set(self._url, varied.dump(), ttl=noted_for, tags=tags)
            return False
        if not await cache.fill(self._miss, varied.dump(), ttl=noted_for, tags=tags):
            return False
        key = varied.key(self._url, self._headers)
        await cache.set(key, kept.dump(), ttl=ttl, grace=grace, tags=tags)
        return True

    def failed(self, error: BaseException) -> Response | None:
        """A stale response for an endpoint that failed; None where there is none, or it is the client's own failure."""
        stale = self._stale() if _is_failure(error) else None
        self._drop(error)
        if stale is None:
            return None
        logger.warning("%s failed, a stale response was served: %r", self._url, error)
        return self._answer(stale, "stale-if-error")

    def _stale(self) -> Kept | None:
        """What was there before this load, if it may stand in for a failure."""
        stale = None if self._miss is None else parse(self._miss.stale)
        if not isinstance(stale, Kept):
            return None
        overdue = stale.age(_now()) - stale.lifetime.fresh
        return stale if overdue < stale.lifetime.if_error else None

    def _drop(self, error: BaseException | None) -> None:
        """Gives up the right to load; those who wait get the error, or look up anew."""
        if self._miss is not None:
            self._miss.__exit__(None if error is None else type(error), error, None)
            self._miss = None

    async def _give_up(self, seconds: float) -> None:
        """Notes that nobody need wait for an answer to this URL for a while; one after the other would."""
        if self._miss is not None:
            await self._cache.fill(self._miss, PASS, ttl=seconds, tags=self._tags)

    def _answer(self, kept: Kept, detail: str | None = None) -> Response:
        self._answered = True
        age = kept.age(_now())
        left = kept.lifetime.fresh - age
        status = f"hit; ttl={int(left // 1)}"
        if detail is not None:
            status += f"; detail={detail}"
        if self._is_known(kept):
            return _not_modified(kept, status, None, age)
        body = b"" if self._request.method == "HEAD" else kept.body
        return _Answer(kept, body, ("age", str(int(age))), ("cache-status", f"donjon; {status}"))

    def _is_known(self, kept: Kept) -> bool:
        """Whether the client has this response already."""
        none_match, since = self._headers.get("if-none-match"), self._headers.get("if-modified-since")
        if (none_match is None and since is None) or not 200 <= kept.status < 300:
            return False
        return not_modified(none_match, since, kept.header("etag"), kept.header("last-modified"))

    def _seconds(self, ttl: Ttl | None) -> float:
        seconds: float = self._cache._memory.core.seconds(span(ttl))
        return min(seconds, 10 * _LONGEST)


_exchange: ContextVar[_Exchange | None] = ContextVar("donjon_exchange", default=None)


class _Answer(Response):
    """A kept response, as it is: no header has to be made again."""

    def __init__(self, kept: Kept, body: bytes, *more: tuple[str, str]) -> None:
        self.status_code = kept.status
        self.background = None
        self.body = body
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*kept.headers, *more)]


def _control(max_age: float, public: bool) -> str:
    """The `Cache-Control` of a response that has none: what browsers and proxies may do with it."""
    words = ["public"] if public else []
    words.append(f"max-age={int(max_age)}")
    if max_age == 0:
        words.append("must-revalidate")
    return ", ".join(words)


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, Exception) and not (isinstance(error, HTTPException) and error.status_code < 500)


def _with_status(response: Response, status: str) -> Response:
    before = response.headers.get("cache-status")
    response.headers["cache-status"] = f"{before}, donjon; {status}" if before else f"donjon; {status}"
    return response


def _not_modified(kept: Kept, status: str, background: Any, age: float | None = None) -> Response:
    headers = {name: value for name, value in kept.headers if name in _IN_304}
    if age is not None:
        headers["age"] = str(int(age))
    return _with_status(Response(status_code=304, headers=headers, background=background), status)
