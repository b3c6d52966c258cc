"""Servers that share the keys, and servers that sentinels watch over. The same words as the crate `donjon-test-redis` beside this folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import redis

from redis_server import RedisServer

PATIENCE = 30.0  # seconds
POLL = 0.02  # seconds
PRIMARIES, SLOTS = 3, 16_384
PRIMARY = "mymaster"


class RedisCluster:
    """Three primaries that share the slots, and as many replicas of each as asked for; `close()` or a `with` ends them.

    Args:
        replicas: How many of each primary. One takes over from a primary that has been away for two seconds.
        options: Any other settings of `redis.conf`.
    """

    def __init__(self, *, replicas: int = 0, options: Mapping[str, str] | None = None) -> None:
        patience = "2000" if replicas else "15000"
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": patience, **(options or {})}
        self._stack = ExitStack()
        with ExitStack() as stack:
            many = PRIMARIES * (replicas + 1)
            self.servers = [stack.enter_context(RedisServer(options=settings)) for _ in range(many)]
            self._join()
            self._stack = stack.pop_all()

    def __enter__(self) -> RedisCluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def owner(self, name: str) -> RedisServer:
        """The primary that has a key as it is called in Redis, by its own words."""
        slot = self._running()[0].ask("CLUSTER", "KEYSLOT", name)
        return next(server for server in self._running() if slot in _slots(server))

    def move(self, name: str, *, rest: float = 0.0) -> None:
        """Moves the slot of a key, with all that is in it, to another primary; rests for seconds when half of that has gone."""
        source = self.owner(name)
        slot = source.ask("CLUSTER", "KEYSLOT", name)
        target = next(one for one in self._running() if one is not source and "master" in _myself(one)[2])
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100)
        _carry(keys[: len(keys) // 2], source, target)
        time.sleep(rest)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            _carry(keys, source, target)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        self.settle()

    def hand_over(self, primary: RedisServer) -> None:
        """Has a replica take over from a primary once it has caught up, and waits until it has."""
        number = primary.ask("CLUSTER", "MYID").decode()
        replica = next(server for server in self._running() if _myself(server)[3] == number)
        tried = 0.0

        def has_taken_over() -> bool:
            nonlocal tried
            # Where the others do not agree in time, as on a machine with other work, it is given up after five seconds.
            if time.monotonic() - tried > 6.0 and "master" not in _myself(replica)[2]:
                tried = time.monotonic()
                replica.ask("CLUSTER", "FAILOVER")
            return "master" in _myself(replica)[2]

        _wait("the replica has taken over", has_taken_over)
        self.settle()

    def settle(self) -> None:
        """Waits until all nodes that run say that the cluster is whole, and the same of who has what and since which epoch.

        Who took a slot without having heard of the last epoch would take it by an older one, and the others would not let him have it.
        """

        def is_settled() -> bool:
            running = self._running()
            return all(map(_is_whole, running)) and len(set(map(_owners, running))) == 1

        _wait("the cluster is whole", is_settled)

    def close(self) -> None:
        """Ends the servers."""
        self._stack.close()

    def _running(self) -> list[RedisServer]:
        return [server for server in self.servers if server.is_running]

    def _join(self) -> None:
        for number, server in enumerate(self.servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                first, last = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES
                server.ask("CLUSTER", "ADDSLOTS", *range(first, last))
        for server in self.servers[1:]:
            self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port)
        known = f"cluster_known_nodes:{len(self.servers)}".encode()
        _wait("all know each other", lambda: all(known in one.ask("CLUSTER", "INFO") for one in self.servers))
        replicas = self.servers[PRIMARIES:]
        for number, replica in enumerate(replicas):
            replica.ask("CLUSTER", "REPLICATE", self.servers[number % PRIMARIES].ask("CLUSTER", "MYID"))
        _wait("the replicas have caught up", lambda: all(one.info("master_link_status") == "up" for one in replicas))
        self.settle()


class RedisSentinels:
    """A primary, two replicas of it and three sentinels, which replace it once it has been away for long enough.

    Args:
        after: Seconds after which a server counts as away.
    """

    def __init__(self, *, after: float = 1.0) -> None:
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.servers = [stack.enter_context(RedisServer()) for _ in range(3)]
            for replica in self.servers[1:]:
                replica.replica_of(self.servers[0])
            watched = (PRIMARY, self.servers[0].port)
            self.sentinels = [stack.enter_context(RedisServer(watches=watched)) for _ in range(3)]
            for sentinel in self.sentinels:
                sentinel.ask("SENTINEL", "SET", PRIMARY, "down-after-milliseconds", int(after * 1000))
            _wait("the sentinels know all", lambda: all(_knows_all(one) for one in self.sentinels))
            self._stack = stack.pop_all()

    def __enter__(self) -> RedisSentinels:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients connect."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{PRIMARY}"

    def primary(self) -> RedisServer:
        """The server that the sentinels name."""
        return self._named_by(self.sentinels[0])

    def wait_for_another(self, former: RedisServer) -> None:
        """Waits until another primary is one, by its own words too."""
        _wait("another took over", lambda: self.primary() is not former and self.primary().ask("ROLE")[0] == b"master")

    def hand_over(self) -> None:
        """Kills the primary once its replicas have all that it has confirmed, has one of them take over, and makes it a replica."""
        _wait("the last one is over", lambda: not any(map(_is_at_it, self.sentinels)))
        former = self.primary()
        others = [server for server in self.servers if server is not former]
        _wait("both replicas follow", lambda: all(one.info("master_link_status") == "up" for one in others))
        former.ask("CLIENT", "PAUSE", int(PATIENCE * 1000), "WRITE")
        confirmed = int(former.info("master_repl_offset") or 0)
        _wait(
            "they have caught up", lambda: all(int(one.info("slave_repl_offset") or 0) >= confirmed for one in others)
        )
        former.kill()
        _wait("another takes over", self._takes_over)
        self.wait_for_another(former)
        _wait("all sentinels name it", lambda: all(self._named_by(one) is self.primary() for one in self.sentinels))
        former.restart(replica_of=self.primary())

    def close(self) -> None:
        """Ends the servers."""
        self._stack.close()

    def _takes_over(self) -> bool:
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", PRIMARY)
        except redis.ResponseError:  # none that it has heard of of late
            return False
        return True

    def _named_by(self, sentinel: RedisServer) -> RedisServer:
        _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
        return next(server for server in self.servers if server.port == int(port))


def _carry(keys: Sequence[bytes], source: RedisServer, target: RedisServer) -> None:
    for key in keys:
        source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)


def _myself(server: RedisServer) -> list[str]:
    lines: list[str] = server.ask("CLUSTER", "NODES").decode().splitlines()
    return next(line for line in lines if "myself" in line).split(" ")


def _slots(server: RedisServer) -> set[int]:
    slots: set[int] = set()
    for part in _myself(server)[8:]:
        first, _, last = part.partition("-")
        if first.isdigit():
            slots.update(range(int(first), int(last or first) + 1))
    return slots


def _is_whole(server: RedisServer) -> bool:
    told: bytes = server.ask("CLUSTER", "INFO")
    return b"cluster_state:ok" in told


def _owners(server: RedisServer) -> frozenset[tuple[str, ...]]:
    lines = [line.split(" ") for line in server.ask("CLUSTER", "NODES").decode().splitlines()]
    return frozenset((line[0], line[6], *line[8:]) for line in lines if len(line) > 8)


def _knows_all(sentinel: RedisServer) -> bool:
    fields = _known(sentinel)
    return (fields[b"num-slaves"], fields[b"num-other-sentinels"]) == (b"2", b"2")


def _is_at_it(sentinel: RedisServer) -> bool:
    return b"failover_in_progress" in _known(sentinel)[b"flags"]


def _known(sentinel: RedisServer) -> dict[bytes, bytes]:
    told = sentinel.ask("SENTINEL", "MASTER", PRIMARY)
    return dict(zip(told[::2], told[1::2], strict=True))


def _wait(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"in vain waited until {what}")
        time.sleep(POLL)
