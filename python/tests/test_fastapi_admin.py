"""The admin routes and the bound on forced refreshes, asked for over HTTP from a real server."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi")
from fastapi import Depends, FastAPI, Header, HTTPException
from web import serving

from donjon import Cache, ConfigError, InvalidTtl
from donjon.fastapi import CacheDep, admin_router, force_refresh, lifespan
from redis_server import RedisServer

ADMIN = {"x-token": "secret"}


def require_admin(x_token: Annotated[str | None, Header()] = None) -> None:
    if x_token != "secret":
        raise HTTPException(401)


def app_with(cache: Cache) -> FastAPI:
    app = FastAPI(lifespan=lambda app: lifespan(app, cache))
    app.include_router(admin_router(require_admin), prefix="/admin")
    return app


@pytest.mark.parametrize("auth", [None, "admin", [], True])
def test_without_a_dependency_that_says_who_may_there_is_no_router(auth: Any) -> None:
    with pytest.raises(ConfigError, match="behind a dependency that says who may use it"):
        admin_router(auth)


async def test_nobody_else_gets_to_any_of_its_routes(cache: Cache) -> None:
    async with serving(app_with(cache)) as client:
        routes = (await client.get("/openapi.json")).json()["paths"]
        assert len(routes) == 4
        for path, methods in routes.items():
            for method in methods:
                assert (await client.request(method.upper(), path)).status_code == 401


async def test_it_says_what_the_cache_is_doing(cache: Cache) -> None:
    async with serving(app_with(cache)) as client:
        client.headers.update(ADMIN)
        await cache.set("user:1", {}, tags=["users"])
        await cache.get("user:1")
        await cache.get("user:2")
        stats = (await client.get("/admin/cache/stats")).json()
        assert (stats["hit_rate"], stats["miss_rate"], stats["cache_backend"]) == (0.5, 0.5, cache.backend)
        assert stats["details"]["hits"] == 1
        assert (await client.get("/admin/cache/health")).json()["status"] == "ok"
        known = (await client.get("/admin/cache/explain", params={"key": "user:1"})).json()
        assert known["tags"] == ["users"]
        assert (await client.get("/admin/cache/explain", params={"key": ""})).status_code == 422


async def test_it_invalidates_by_key_pattern_or_tag(cache: Cache) -> None:
    async with serving(app_with(cache)) as client:
        client.headers.update(ADMIN)
        await cache.set_many({"a:1": 1, "a:2": 2, "b": 3})
        await cache.set("c", 4, tags=["t"])
        for asked, removed, left in (
            ({"key": "a:1"}, 1, {"a:2", "b", "c"}),
            ({"pattern": "a:*"}, 1, {"b", "c"}),
            ({"tag": "t"}, 1, {"b"}),
        ):
            answer = (await client.post("/admin/cache/invalidate", params=asked)).json()
            assert answer == {"removed": removed, "queued": False}
            assert set(await cache.get_many(["a:1", "a:2", "b", "c"])) == left
        for wrong in ({}, {"key": "a", "pattern": "b"}, {"key": ""}, {"tag": ""}, {"pattern": ""}):
            assert (await client.post("/admin/cache/invalidate", params=wrong)).status_code == 422


async def test_health_is_503_while_redis_is_away() -> None:
    with RedisServer() as server:
        url = server.url
    async with serving(app_with(Cache.redis(url, connect_timeout=0.05))) as client:
        answer = await client.get("/admin/cache/health", headers=ADMIN)
        assert (answer.status_code, answer.json()["status"]) == (503, "down")


async def test_a_refresh_is_granted_once_in_a_while_and_loads_once_for_all(cache: Cache) -> None:
    app = FastAPI(lifespan=lambda app: lifespan(app, cache))
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    @app.get("/status/{name}")
    async def status(name: str, refresh: Annotated[bool, Depends(force_refresh("1h"))], cache: CacheDep) -> Any:
        return await cache.get_or_set(f"status:{name}", load, force_refresh=refresh)

    async with serving(app) as client:
        assert (await client.get("/status/a")).json() == 1
        answers = await asyncio.gather(*(client.get("/status/a?force_refresh=true") for _ in range(10)))
        granted = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(granted), len(refused), granted[0].json()) == (1, 9, 2)
        assert 3500 < int(refused[0].headers["retry-after"]) <= 3600
        assert (await client.get("/status/a")).json() == 2
        assert (await client.get("/status/b?force_refresh=true")).json() == 3
        cache.enabled = False
        assert (await client.get("/status/a?force_refresh=true")).json() == 4


def test_how_often_is_a_time_to_live() -> None:
    with pytest.raises(InvalidTtl):
        force_refresh(True)
