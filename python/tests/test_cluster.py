"""The Redis backend over a cluster, and over a primary that sentinels name: what is asked of it, and when nodes go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from loaders import PATIENT
from other_process import OtherProcess

from donjon import Cache, ConfigError, Miss
from redis_cluster import RedisCluster, RedisSentinels
from redis_server import RedisServer


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def shared(cluster: RedisCluster, namespace: str) -> Cache:
    return Cache.redis(cluster.url, namespace=namespace, **PATIENT)


async def eventually(cache: Cache, key: str) -> None:
    """Waits until what is stored can be read."""

    async def stored() -> bool:
        await cache.set(key, 1)
        return await cache.get(key) == 1

    async def met() -> None:
        while not await stored():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await asyncio.wait_for(met(), 20)


async def test_every_call_reaches_the_nodes_that_it_is_about(shared: Cache, cluster: RedisCluster) -> None:
    keys = [f"k{number}" for number in range(60)]
    await shared.set_many({key: {"key": key} for key in keys}, ttl=60)
    assert await shared.get_many(keys) == {key: {"key": key} for key in keys}
    assert all(server.ask("DBSIZE") > 0 for server in cluster.servers)
    assert shared.sync.get("k7") == {"key": "k7"}
    assert await shared.delete_many(keys[:10]) == 10
    assert await shared.add("k0", 1) and not await shared.add("k0", 2)
    assert [await shared.incr(f"n{number}", by=2) for number in range(5)] == [2] * 5
    assert await shared.touch("k0", 30) and 0 < (await shared.ttl("k0") or 0) <= 30
    for number in range(20):
        assert (
            await shared.get_or_set(f"t{number}", lambda number=number: number, tags=[f"tag{number}", "all"]) == number
        )
    assert await shared.invalidate_tags("tag3") == 1
    assert [number for number in range(20) if await shared.exists(f"t{number}")] == [n for n in range(20) if n != 3]
    await shared.invalidate_tags("all")
    assert not await shared.exists("t4")
    assert await shared.invalidate_pattern("k1?") == 10
    assert await shared.invalidate_pattern("k2?") == 10
    loaded = await shared.get_or_set_many(keys[20:22], lambda missing: dict.fromkeys(missing, 0))
    assert loaded == {"k20": 0, "k21": 0}
    async with shared.lock("l", ttl=60) as held:
        assert held.fence > 0
    assert await shared.clear() > 0
    assert await shared.get("k59") is None
    assert await shared.ping()


async def test_a_miss_holds_a_lease_that_goes_with_its_slot(shared: Cache, cluster: RedisCluster) -> None:
    for invalidated in (False, True):
        miss = await shared.lookup("k")
        assert isinstance(miss, Miss)
        cluster.move(f"{shared.namespace}:k")
        if invalidated:
            await shared.delete("k")
        assert await shared.fill(miss, 5) is not invalidated
        assert await shared.get("k") == (None if invalidated else 5)
        await shared.delete("k")


async def test_messages_reach_who_listens_on_another_node(shared: Cache, cluster: RedisCluster) -> None:
    other = Cache.redis(cluster.url, namespace=shared.namespace, **PATIENT)
    async with shared.subscribe("c") as messages:
        await other.publish("c", {"id": 5})
        message = await asyncio.wait_for(anext(messages), 10)
    assert message.data == {"id": 5}


async def test_while_slots_move_nothing_is_missed(shared: Cache, cluster: RedisCluster) -> None:
    keys = [f"k{number}" for number in range(30)]
    over = asyncio.Event()

    def move() -> None:
        while not over.is_set():
            for key in keys:
                cluster.move(f"{shared.namespace}:{key}")

    moving = asyncio.create_task(asyncio.to_thread(move))
    for _ in range(5):
        await shared.set_many(dict.fromkeys(keys, 1))
        assert not (await shared.clear()).queued
        assert await shared.get_many(keys) == {}
    over.set()
    await moving


async def test_a_replica_that_takes_over_is_found() -> None:
    with RedisCluster(replicas=1) as cluster:
        shared = Cache.redis(cluster.url, command_timeout=0.5)
        await shared.set("k", 1)
        primary = cluster.owner("app:k")
        assert await shared.delete("k")
        primary.kill()
        assert await shared.get_or_set("k", lambda: 2) == 2, "the loader runs whatever befalls redis"
        await eventually(shared, "k")
        assert not (await shared.clear()).queued
        await shared.close()


async def test_the_primary_that_sentinels_name_is_followed_to_the_next() -> None:
    with RedisSentinels() as watched:
        shared = Cache.redis(watched.url, command_timeout=0.5)
        await shared.set("k", 1)
        former = watched.primary()
        former.kill()
        assert (await shared.delete("k")).queued
        watched.wait_for_another(former)
        await eventually(shared, "new")
        assert await shared.get("k") is None
        await shared.close()


async def told(cache: Cache, key: str, value: object) -> None:
    """Waits until memory answers with the value, and no older one any more."""

    async def met() -> None:
        before = cache.stats().memory_hits
        while await cache.get(key) != value or cache.stats().memory_hits == before:
            before = cache.stats().memory_hits
            await asyncio.sleep(0.001)

    await asyncio.wait_for(met(), 20)


async def test_in_a_namespace_in_braces_a_pattern_holds_though_its_process_dies_before_it_is_swept(
    cluster: RedisCluster, namespace: str
) -> None:
    together = f"{{{namespace}}}"
    for server in cluster.servers:
        server.ask("ACL", "SETUSER", "stuck", "on", ">secret", "~*", "&*", "+@all", "-scan")
    one = Cache.redis(cluster.url, namespace=together, **PATIENT)
    near = Cache.redis(cluster.url, namespace=together, near=True, **PATIENT)
    async with one, near:
        await one.set_many({"user:1": "old", "user:2": "old", "job:1": "kept"})
        for key, value in (("user:1", "old"), ("job:1", "kept")):
            await told(near, key, value)
        with OtherProcess(cluster.url.replace("://", "://stuck:secret@"), together) as other:
            # It may write down what it is about to sweep, and no more.
            assert other.ask("(await cache.invalidate_pattern('user:*')).queued")
            other.kill()
        assert [await one.get_many(["user:1", "user:2", "job:1"]), await one.exists("user:1")] == [
            {"job:1": "kept"},
            False,
        ]
        await told_of(near, "user:1")
        await told(near, "job:1", "kept")
        assert await one.get_or_set("user:1", lambda: "new") == "new"
        cluster.move(f"{together}!p")
        assert await one.get_many(["user:1", "user:2", "job:1"]) == {"user:1": "new", "job:1": "kept"}
        await told(near, "user:1", "new")
        name = f"{together}:user:2"
        assert cluster.owner(name).ask("EXISTS", name) == 1, "it was not swept yet"


async def test_memory_in_front_of_a_cluster_is_told_by_whichever_node_has_the_key(
    shared: Cache, cluster: RedisCluster
) -> None:
    keys = [f"k{number}" for number in range(12)]
    async with Cache.redis(cluster.url, namespace=shared.namespace, near=True, **PATIENT) as near:
        await shared.set_many(dict.fromkeys(keys, 1), tags=["all"])
        for key in keys:
            await told(near, key, 1)
        assert near.stats().coherence == "tracking"
        assert (await near.explain("k0"))["tier"] == "memory"
        reads = sum(_reads(server) for server in cluster.servers)
        assert await near.get_many(keys) == dict.fromkeys(keys, 1)
        assert near.sync.get("k3") == 1
        assert sum(_reads(server) for server in cluster.servers) == reads
        name = f"{shared.namespace}:k3"
        cluster.owner(name).ask("UNLINK", name)
        await told_of(near, "k3")
        cluster.move(f"{shared.namespace}:k4")
        await told(near, "k4", 1)
        await shared.set("k4", 2)
        await told(near, "k4", 2)
        await shared.invalidate_tags("all")
        await told_of(near, "k0")
        await shared.set("k0", 3)
        await told(near, "k0", 3)
        assert await near.delete("k0")
        assert await near.get("k0") is None


async def told_of(cache: Cache, key: str) -> None:
    """Waits until a value that left is served no more."""

    async def met() -> None:
        while await cache.get(key) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    await asyncio.wait_for(met(), 20)


def _reads(server: RedisServer) -> int:
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_get", "cmdstat_mget") if name in stats)


async def test_memory_in_front_of_a_primary_that_sentinels_replace_forgets_what_that_one_said() -> None:
    with RedisSentinels() as watched:
        near = Cache.redis(watched.url, near=True, command_timeout=0.5)
        await near.set("k", 1)
        await told(near, "k", 1)
        former = watched.primary()
        former.kill()
        watched.wait_for_another(former)
        async with Cache.redis(watched.url, **PATIENT) as other:
            await other.set("k", 2)
            await told(near, "k", 2)
            await other.set("k", 3)
            await told(near, "k", 3)
        await near.close()


async def test_what_is_no_cluster_is_said_in_the_log_without_its_password(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url.replace("redis://", "redis+cluster://:hunter2@")
    with caplog.at_level(logging.INFO, "donjon"):
        async with Cache.redis(url, **PATIENT) as shared:
            assert not await shared.ping()
            assert await shared.get_or_set("k", lambda: 1) == 1
    assert "redis+cluster://:***@" in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(shared)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://:hunter2@h/1",
        "redis+cluster://:hunter2@h,:x",
        "redis+sentinel://:hunter2@h",
        "redis+sentinel://h/m?password=hunter2",
    ],
)
def test_a_url_that_cannot_be_read_is_an_error_that_shows_nothing_of_it(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Cache.redis(url)
    assert "hunter2" not in str(error.value)
