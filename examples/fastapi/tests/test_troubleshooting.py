"""The guide's "Troubleshooting" and "Monitor Cache Performance": the switches, the log line, the forced refresh."""

import logging
import sqlite3

import httpx
import pytest
from donjon import Cache, ConfigError

from app.core.cache import get_cache
from app.core.settings import Settings
from app.main import create_app
from app.models import Job
from app.services.stats_cache import StatsCache
from conftest import ADMIN, TOKEN, client_of


async def test_the_log_says_that_the_cache_is_up_and_on_which_backend(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        assert "✓ Cache initialized (memory backend)" in caplog.text


async def test_the_connection_test_of_the_guide_prints_value(app: object, capsys: pytest.CaptureFixture[str]) -> None:
    cache = get_cache()
    await cache.set("test", "value")
    result = await cache.get("test")
    print(result)
    assert capsys.readouterr().out == "value\n"


async def test_cache_enabled_false_answers_everything_from_the_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_ENABLED", "false")
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for expected in (0, 1, 2):
            answer = (await client.get("/api/v1/admin/jobs/status", headers=ADMIN)).json()
            assert answer["data"]["total"] == expected
            async with app.state.database.session() as session:
                session.add(Job(kind="by hand"))  # past every invalidation: a cache would not notice
                await session.commit()
        assert (await client.get("/admin/cache/stats", headers=ADMIN)).json()["size"] == 0


async def test_cache_ttl_stats_sets_how_long_statistics_live(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_TTL_STATS", "7           # 7 seconds for stats")
    app = create_app(settings)
    async with app.router.lifespan_context(app), app.state.database.session() as session:
        await StatsCache.get_job_stats(session)
        assert await get_cache().ttl("jobs:stats") == pytest.approx(7, abs=0.5)


ENVIRONMENT = """\
CACHE_BACKEND=memory         # Options: "redis" or "memory"
CACHE_ENABLED=true           # Enable/disable caching
CACHE_REDIS_URL=
CACHE_REDIS_HOST=localhost
CACHE_REDIS_PORT=6379
CACHE_REDIS_DB=0
CACHE_REDIS_PASSWORD=          # Optional
CACHE_REDIS_SSL=false
CACHE_TTL_DEFAULT=30           # 30 seconds
CACHE_TTL_STATS=6              # 6 seconds for stats
CACHE_TTL_CONFIG=360           # 6 minutes for app config
CACHE_TTL_USER_DATA=31         # 31 seconds for user data
"""


async def test_the_guides_environment_file_is_taken_comments_and_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for line in ENVIRONMENT.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        for path in ("/api/v1/stats", "/api/v1/config", "/api/v1/users/1", "/api/v1/documents/summary"):
            assert (await client.get(path)).status_code == 200
        lives = {key: await get_cache().ttl(key) for key in ("jobs:stats", "config:all", "user:profile:1")}
        assert lives == pytest.approx({"jobs:stats": 6, "config:all": 360, "user:profile:1": 31}, abs=0.5)
        assert await get_cache().ttl("documents:summary") == pytest.approx(30, abs=0.5)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


async def test_a_setting_that_cannot_be_stops_the_start_and_says_which(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_BACKEND", "memcached")
    app = create_app(settings)
    with pytest.raises(ConfigError, match="CACHE_BACKEND"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_forced_refresh_shows_what_was_changed_behind_the_applications_back(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    url = "/api/v1/admin/jobs/status"
    assert (await client.get(url, headers=ADMIN)).json() == {
        "status": "ok",
        "data": {"total": 0, "queued": 0, "running": 0, "completed": 0, "failed": 0, "average_seconds": None},
        "cached": True,
        "cache_backend": "memory",
    }
    with sqlite3.connect(settings.database) as other:
        other.execute("INSERT INTO jobs (kind, status, created_at) VALUES ('by hand', 'queued', '')")
    assert (await client.get(url, headers=ADMIN)).json()["data"]["total"] == 0

    forced = (await client.get(f"{url}?force_refresh=true", headers=ADMIN)).json()
    assert (forced["data"]["total"], forced["cached"]) == (1, False)
    assert (await client.get(f"{url}?force_refresh=true", headers=ADMIN)).status_code == 429  # once a second
    assert (await client.get(url, headers=ADMIN)).json()["data"]["total"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/admin/jobs/status"),
        ("GET", "/api/v1/admin/files/status"),
        ("GET", "/api/v1/admin/cache/stats"),
        ("GET", "/admin/cache/stats"),
        ("GET", "/api/v1/admin/cache/explain?key=a"),
        ("POST", "/api/v1/admin/cache/invalidate?pattern=*"),
        ("POST", "/api/v1/admin/cache/invalidate/stats"),
        ("POST", "/api/v1/admin/documents/import"),
        ("PUT", "/api/v1/admin/config/theme"),
    ],
)
async def test_admin_routes_ask_for_the_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x"},
        {"Authorization": TOKEN},
    ]
    for headers in wrong:
        answer = await client.request(method, path, headers=headers, json={"value": 1})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await client.request(method, path, headers=ADMIN, json={"value": 1})).status_code in (200, 202)


async def test_no_route_under_admin_is_open(settings: Settings) -> None:
    """Also one that somebody adds tomorrow."""
    app = create_app(settings)
    admin = [path for path in app.openapi()["paths"].items() if "/admin/" in path[0]]
    assert len(admin) >= 8
    for path, methods in admin:
        for operation in methods.values():
            assert operation.get("security"), f"{path} asks for no token"


async def test_the_pattern_of_a_manual_invalidation_is_checked(client: httpx.AsyncClient, cache: Cache) -> None:
    await cache.set_many({"user:1": 1, "user:2": 2, "job:1": 3})
    url = "/api/v1/admin/cache/invalidate"
    assert (await client.post(url, params={"pattern": "user:*"}, headers=ADMIN)).json() == {
        "removed": 2,
        "queued": False,
    }
    assert (await client.post(url, params={"pattern": ""}, headers=ADMIN)).status_code == 422


async def test_explain_says_where_an_entry_stands(client: httpx.AsyncClient) -> None:
    await client.get("/api/v1/users/1")
    answer = await client.get("/api/v1/admin/cache/explain", params={"key": "user:profile:1"}, headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json()["tier"] == "memory"
