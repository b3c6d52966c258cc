"""schemathesis makes requests of the application's OpenAPI document; with caching on and off the answers are the same."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from conftest import ADMIN, TOKEN
from server import Server, serving

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]*(?:\+00:00|Z)")
EXAMPLES = 8  # of each operation
PEOPLE = 4  # numbers that there are, so that what is read is mostly there

# What these say is about the cache, not about the data.
OF_THE_CACHE = re.compile(r"/admin/cache/")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """One that caches and one that does not, each with a database of its own, and nothing that changes by itself."""
    quiet = {"APP_JOB_WORKERS": "0"}
    with (
        serving(tmp_path_factory.mktemp("on"), TOKEN, cache=quiet) as on,
        serving(tmp_path_factory.mktemp("off"), TOKEN, cache={**quiet, "CACHE_ENABLED": "false"}) as off,
    ):
        for server in (on, off):
            with httpx.Client(base_url=f"{server.url}/api/v1") as client:
                for number in range(PEOPLE):
                    client.post("/users", json={"name": f"n{number}", "email": f"{number}@example.org"})
                    client.post("/documents", json={"user_id": 1, "title": f"t{number}", "content": f"words {number}"})
        yield [on, off]


def test_with_caching_on_and_off_the_answers_are_equal(servers: list[Server], tmp_path: Path) -> None:
    schema = schemathesis.openapi.from_url(f"{servers[0].url}/openapi.json")
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    asked = [operation for operation in operations if not OF_THE_CACHE.search(operation.path)]
    assert len(asked) > 15
    hits_before = hits(servers[0])
    # Whatever changes, each operation meets it: those that only read come first, in the midst and last.
    reads = [operation for operation in asked if operation.method.upper() == "GET"]
    writes = [operation for operation in asked if operation.method.upper() != "GET"]
    for operation in [*reads, *writes, *reads]:
        compare(operation, servers)
    assert hits(servers[0]) > hits_before + 100, "hardly anything was answered from the cache"
    assert hits(servers[1]) == 0


def compare(operation: Any, servers: list[Server]) -> None:
    # Not shrunk: a request that is sent again finds another state than the first did.
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def each(case: Any) -> None:
        for name, value in case.path_parameters.items():
            if isinstance(value, int) and value > 0:
                case.path_parameters[name] = value % PEOPLE + 1
        case.query.pop("force_refresh", None)  # how often it is granted is the cache's affair
        for time in ("first", "second"):
            on, off = (answer(case, server) for server in servers)
            assert on == off, f"{case.method} {case.formatted_path} {case.query} {case.body}, the {time} time"

    each()


def answer(case: Any, server: Server) -> tuple[int, str | None, str]:
    given = case.call(base_url=server.url, headers=ADMIN)
    kind = given.headers.get("content-type")
    return given.status_code, kind and kind[0], MOMENT.sub("then", given.text)


def hits(server: Server) -> int:
    stats = httpx.get(f"{server.url}/admin/cache/stats", headers=ADMIN).json()["details"]
    return int(stats["hits"])
