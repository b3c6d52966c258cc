"""The cache, as asyncio code uses it.

A value that is there is returned by a plain `async def` over a call into the core: no task, no future, no other thread. Only
a caller that has to wait for another's load waits.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _donjon
from ._backend import Backend, Mode
from ._donjon import MISS
from ._errors import ConfigError
from ._face import Face, key_list
from ._load import load_many, look_up
from ._lock import Lock
from ._lookup import Hit, Miss
from ._memory import Memory
from ._notices import logger
from ._pubsub import Subscription
from ._remembered import ErrorTtls
from ._removed import Removed
from ._runtime import ASYNCIO
from ._shared import Shared
from ._sync import SyncCache
from ._ttl import Ttl, span
from ._types import codec
from ._warm import Warming, WarmReport
from ._workers import worker_count

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Cache"]

T = TypeVar("T")
D = TypeVar("D")

_TEND_SECONDS = 1.0


class Cache(Face):
    """A cache. Made by `Cache.from_env`, `Cache.memory` or `Cache.redis`; the one of this process is `donjon.get_cache()`.

    Values are JSON: what goes in is copied, each reader gets a copy of its own, and it comes back the same from every
    backend. A `datetime`, a dataclass or a pydantic model goes in as its JSON form and comes back as that, or as the type
    given as `as_`. None is a value like any other.

    Examples:
        >>> import asyncio
        >>> async def main():
        ...     async with Cache.memory(namespace="app") as cache:
        ...         await cache.set("user:1", {"name": "Ada"}, ttl="5m")
        ...         print(await cache.get("user:1"))
        ...         await cache.delete("user:1")
        ...         print(await cache.get_or_set("user:1", lambda: {"name": "Grace"}, ttl=60))
        >>> asyncio.run(main())
        {'name': 'Ada'}
        {'name': 'Grace'}
    """

    def __init__(self, memory: Backend) -> None:
        super().__init__(memory)
        self._announced = False
        self._tending: asyncio.TimerHandle | None = None
        self.sync = SyncCache(memory.blocking)
        """The same cache for threads and scripts: the same calls, blocking."""

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """A cache as the `CACHE_` variables say; those of the process, where no others are given.

        Raises:
            ConfigError: A variable has a value that it cannot have.

        Examples:
            >>> Cache.from_env({"CACHE_NAMESPACE": "shop"}).namespace
            'shop'
        """
        variables = os.environ if environment is None else environment
        settings = _donjon.parse_settings((name, text) for name, text in variables.items() if name.startswith("CACHE_"))
        for warning in settings.warnings:
            logger.warning("%s", warning)
        if settings.redis_url is not None:
            return cls.redis(
                settings.redis_url,
                namespace=settings.namespace,
                ttl_classes=settings.ttl_classes,
                enabled=settings.enabled,
                near=settings.near,
                max_bytes=settings.max_bytes if settings.near else None,
                max_entries=settings.max_entries if settings.near else None,
            )
        return cls(
            Memory(
                namespace=settings.namespace,
                max_bytes=settings.max_bytes,
                max_entries=settings.max_entries,
                ttl_classes=settings.ttl_classes,
                enabled=settings.enabled,
                clock=None,
            )
        )

    @classmethod
    def memory(
        cls,
        *,
        namespace: str = "app",
        max_bytes: int = 256 * 2**20,
        max_entries: int | None = None,
        default_ttl: Ttl | None = None,
        ttl_classes: Mapping[str, Ttl] | None = None,
        jitter: float = 0.0,
        early: float = 1.0,
        load_timeout: float = 30.0,
        enabled: bool = True,
        clock: _donjon.ManualClock | None = None,
    ) -> Self:
        """A cache in the memory of this process.

        Args:
            namespace: Letters, digits, `.`, `_` and `-`, up to 64 of them.
            max_bytes: Bound of keys, values and bookkeeping together. What is used least leaves first.
            max_entries: Bound of the number of values; None leaves it to `max_bytes`.
            default_ttl: Where a call names none. None: five minutes, or what `ttl_classes` says of "default".
            ttl_classes: Names for times to live, used as `ttl="stats"`.
            jitter: Largest part cut at random from each time to live: 0.1 on 60 s gives 54 to 60 s.
            early: How eagerly a value is refreshed before it expires, the earlier the longer its load takes; 0.0 never.
            load_timeout: Seconds that others wait for a load; then one takes it over, and the rest load for themselves.
            enabled: The kill switch, as `enabled` later.
            clock: Moves time by hand, in tests. Waiting for a load or a lock takes real time all the same.

        Raises:
            InvalidNamespace: Other characters, or too many.
            InvalidTtl: As for `set`.
            ConfigError: A bound is not positive, or another number is out of its range.
        """
        _check_bounds(max_bytes, max_entries)
        classes = None
        if ttl_classes is not None:
            classes = {name: _seconds(ttl) for name, ttl in ttl_classes.items()}
        return cls(
            Memory(
                namespace=namespace,
                max_bytes=max_bytes,
                max_entries=max_entries,
                default_ttl=span(default_ttl),
                ttl_classes=classes,
                jitter=jitter,
                early=early,
                load_timeout=load_timeout,
                enabled=enabled,
                clock=clock,
            )
        )

    @classmethod
    def redis(
        cls,
        url: str,
        *,
        namespace: str = "app",
        default_ttl: Ttl | None = None,
        ttl_classes: Mapping[str, Ttl] | None = None,
        jitter: float = 0.0,
        early: float = 1.0,
        load_timeout: float = 30.0,
        connect_timeout: float = 0.25,
        command_timeout: float = 0.1,
        ca: str | os.PathLike[str] | bytes | None = None,
        max_value_bytes: int = 16 * 2**20,
        strict: bool = False,
        enabled: bool = True,
        near: bool = False,
        near_broadcast: bool = False,
        near_max_stale: float = 0.0,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        mode: Mode = "local",
    ) -> Self:
        """A cache that processes share, in a Redis or Valkey. Connects when it is first used.

        While Redis cannot be reached, reads miss, loaders run, and invalidations are queued.

        Args:
            url: `redis://user:password@host:6379/0`, `rediss://…` for TLS, `unix:///path`,
                `redis+cluster://host,host` or `redis+sentinel://host,host/name/0`.
            namespace: As for `memory`; what uses the same one shares its values.
            default_ttl: As for `memory`.
            ttl_classes: As for `memory`.
            jitter: As for `memory`.
            early: As for `memory`.
            load_timeout: As for `memory`.
            connect_timeout: Seconds until a connection has to be there, with TLS and log-in.
            command_timeout: Seconds that a command may wait while nothing moves on the connection.
            ca: Certificates, in PEM or in a file of that, of which one has signed that of the server. None: those that the
                system trusts.
            max_value_bytes: A larger value is not stored, and what is under its key is invalidated.
            strict: Raises where Redis could not be told: InvalidationQueued for an invalidation, BackendUnavailable for a
                `set`, which is an invalidation of its key then.
            enabled: As for `memory`.
            near: Puts memory in front of Redis: what was read is answered from there, as quickly as by the memory backend, until
                Redis says that it changed: usually within a millisecond, and after two seconds at the latest, should the
                connection be dead without a sign.
            near_broadcast: Has Redis tell of every change in the namespace instead of remembering what was read: for many
                processes that read the same few keys, which change seldom.
            near_max_stale: Seconds for which memory answers, with values that count as stale, while there is no connection.
            max_bytes: Of memory in front of Redis, as for `memory`. None: 256 MiB.
            max_entries: Of memory in front of Redis, as for `memory`.
            mode: How fresh answers have to be where a call does not say: see `get`.

        Raises:
            ConfigError: The URL cannot be read, a number is out of its range, or an option needs `near`.
            InvalidNamespace: As for `memory`.
            InvalidTtl: As for `set`.
        """
        _check_bounds(max_bytes, max_entries)
        needing = {
            "near_broadcast": near_broadcast,
            "near_max_stale": near_max_stale,
            "max_bytes": max_bytes is not None,
            "max_entries": max_entries is not None,
        }
        for name, given in needing.items():
            if given and not near:
                raise ConfigError(f"`{name}` is of memory in front of redis: write near=True as well")
        if max_value_bytes < 1:
            raise ConfigError(
                f"`max_value_bytes` is at least 1, not {max_value_bytes}: to keep nothing, write enabled=False"
            )
        if isinstance(ca, (str, os.PathLike)):
            try:
                ca = Path(ca).read_bytes()
            except OSError as error:
                raise ConfigError(f"`ca` cannot be read: {error}") from error
        classes = None
        if ttl_classes is not None:
            classes = {name: _seconds(ttl) for name, ttl in ttl_classes.items()}
        return cls(
            Shared(
                url,
                namespace=namespace,
                default_ttl=span(default_ttl),
                ttl_classes=classes,
                jitter=jitter,
                early=early,
                load_timeout=load_timeout,
                connect_timeout=connect_timeout,
                command_timeout=command_timeout,
                ca=ca,
                max_value_bytes=max_value_bytes,
                strict=strict,
                enabled=enabled,
                near=near,
                near_broadcast=near_broadcast,
                near_max_stale=near_max_stale,
                max_bytes=256 * 2**20 if max_bytes is None else max_bytes,
                max_entries=max_entries,
                mode=mode,
            )
        )

    # -- life
    async def connect(self) -> None:
        """Starts the cache: says so in the log, and whether Redis answers; in memory, lets what expired leave unread.

        It works without, too, and without Redis; after `close` it opens the cache again, empty in memory.
        """
        self._memory.open()
        self.announce()
        if self._waits:
            if not await self.ping():
                logger.warning("redis does not answer: reads miss and invalidations are queued until it does")
            return
        if self._tending is not None:
            self._tending.cancel()  # of a loop that may be gone
        loop = asyncio.get_running_loop()
        self._tending = loop.call_later(_TEND_SECONDS, _tend, weakref.ref(self), loop)

    async def close(self) -> None:
        """Ends the cache and frees what it holds; what is asked of it afterwards raises CacheClosed.

        Redis is told what it could not be told before, if it answers within a second.
        """
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        self._announced = False
        loop = asyncio.get_running_loop()
        aside = [task for task in self._memory.aside if task.get_loop() is loop]
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)
        closing = self._memory.close()
        if closing is not None:
            await closing

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def announce(self) -> None:
        """Writes the line of the start into the log, once; `connect` does."""
        if self._announced:
            return
        self._announced = True
        memory = self._memory
        if isinstance(memory, Shared):
            logger.info(
                "✓ Cache initialized (redis backend) namespace=%s tiers=%s url=%s",
                self.namespace,
                memory.tiers,
                memory.url,
            )
            return
        logger.info("✓ Cache initialized (memory backend) namespace=%s tiers=memory", self.namespace)
        workers = worker_count()
        if workers > 1:
            logger.warning(
                "%d worker processes with the memory backend: each has a cache of its own, and an invalidation in one "
                "does not reach the others",
                workers,
            )

    async def ping(self) -> bool:
        """Whether the backend answers."""
        answers = not self._memory.closed and self._memory.ping()
        return await answers if self._waits and answers else answers

    # -- reads
    @overload
    async def get(self, key: str, default: Any = None, *, mode: Mode | None = None) -> Any: ...
    @overload
    async def get(self, key: str, default: D, *, as_: type[T], mode: Mode | None = None) -> T | D: ...
    @overload
    async def get(self, key: str, *, as_: type[T], mode: Mode | None = None) -> T | None: ...
    @overload
    async def get(self, key: str, default: Any = None, *, as_: Any, mode: Mode | None = None) -> Any: ...

    async def get(self, key: str, default: Any = None, *, as_: Any = None, mode: Mode | None = None) -> Any:
        """The value of a key, a stale one included; `default` where there is none. Never waits.

        Code that reads, queries and then calls `set` can store what was read before an invalidation, after it. Use
        `get_or_set`, a cached function, or `lookup` and `fill`, which cannot.

        Args:
            as_: The type to return: pydantic model, dataclass, TypedDict, or whatever else pydantic validates. A value that
                is no valid one counts as none.
            mode: How fresh the answer has to be; None: as the cache was made. "local": memory in front of Redis may answer.
                "strong": Redis does. For the memory backend both mean the same.

        Raises:
            InvalidKey: The key is empty or over 1 KiB.
        """
        if as_ is None and mode is None:
            memory = self._memory
            if self._waits:
                value = memory.hit(key)
                return await memory.get(key, default) if value is MISS else value
            return memory.get(key, default)
        return await self._get_as(key, default, as_, mode)

    async def get_many(self, keys: Iterable[str], *, mode: Mode | None = None) -> dict[str, Any]:
        """The values of those keys that have one; `mode` as for `get`."""
        return await self._get_many(keys, mode)

    async def exists(self, key: str) -> bool:
        """Whether the key has a value that may be served."""
        there = self._memory.core.exists(key)
        return await there if self._waits else there

    async def ttl(self, key: str) -> float | None:
        """Seconds for which the value is still fresh; `math.inf` for ever, None where there is none."""
        seconds = self._memory.core.ttl(key)
        return await seconds if self._waits else seconds

    async def explain(self, key: str) -> dict[str, Any]:
        """What the cache knows of a key: tier, age, until when it is fresh, tags, and why its last value left.

        Over Redis also `coherence`, what memory in front is worth: "tracking", "fallback" (the same, for servers without the newer
        protocol), "suspect" (no connection, or no sign of life of it) or "off" (Redis tells nobody here of changes); `last_push`,
        how many seconds ago it last did; and `redis_left_alone`, whether it is asked nothing for now, since it failed.
        """
        facts = self._memory.core.explain(key)
        return await facts if self._waits else facts

    # -- loads
    @overload
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
        force_refresh: bool = False,
        as_: type[T],
        mode: Mode | None = None,
        errors: ErrorTtls | None = None,
    ) -> T: ...
    @overload
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
        force_refresh: bool = False,
        as_: Any = None,
        mode: Mode | None = None,
        errors: ErrorTtls | None = None,
    ) -> Any: ...

    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
        force_refresh: bool = False,
        as_: Any = None,
        mode: Mode | None = None,
        errors: ErrorTtls | None = None,
    ) -> Any:
        """The value of a key, loaded by one caller for everyone who asks meanwhile.

        What was loaded is stored unless the key, a pattern, a tag or the namespace was invalidated since the load began;
        those who asked after that load anew. Miss and hit return the same: the stored copy.

        Args:
            loader: Called without arguments, in the caller's own task; plain or async. What it raises reaches everyone who
                waits, and is not cached, but for `errors`.
            ttl: As for `set`; checked before the loader runs.
            grace: As for `set`. A load that fails meanwhile gives the stale value instead of its error.
            tags: As for `set`.
            force_refresh: Loads anew, or joins a load that began after this call.
            as_: As for `get`. A stored value that is no valid one is loaded anew.
            mode: As for `get`. What is loaded is loaded the same way.
            errors: Exceptions that are remembered like a value, each for its own time: `{NotFound: "30s"}`. Who asks meanwhile
                gets one made anew. Of just these classes, and only one whose `args` and attributes are plain JSON; any that is
                invalidated with its key, a pattern or a tag is gone. A stale value within its `grace` comes before.

        Raises:
            ConfigError: One of `errors` cannot be made anew from that.
            InvalidKey: The key is empty or over 1 KiB.
            InvalidTtl: As for `set`.
            UnsupportedValue: The loader gave what has no JSON form.
            DecodeError: The loader gave what is no valid `as_`.
        """
        if as_ is None and mode is None and not force_refresh:
            value = self._memory.hit(key)
            if value is not MISS:
                return value
        return await self._load(ASYNCIO, key, loader, ttl, grace, tags, force_refresh, as_, mode, errors)

    async def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
        as_: Any = None,
        mode: Mode | None = None,
    ) -> dict[str, Any]:
        """The values of `keys`, in their order.

        Args:
            loader: Called with the list of keys that are missing and that nobody else loads; gives a mapping. A key that it
                leaves out has no value, and is left out here.
            as_: As for `get_or_set`, of each value.
            mode: As for `get`.
        """
        storing = self._memory.storing(ttl, grace, tags)
        return await load_many(
            ASYNCIO, self._memory, key_list(keys), loader, storing, mode, None if as_ is None else codec(as_)
        )

    async def lookup(self, key: str, *, mode: Mode | None = None, force_refresh: bool = False) -> Hit | Miss:
        """A hit, which is true, or a miss, which is false and holds the right to load.

        For loads that do not fit into a function. Others who want the key wait for the holder of the miss, so hand it to
        `fill`, or let it go by the end of an `async with`:

            async with await cache.lookup("report") as found:
                if found:
                    return found.value
                report = await query()
                await cache.fill(found, report, ttl=60)
                return report

        `mode` is as for `get`. With `force_refresh` only a value will do whose load began after this call; meanwhile, and should
        this load fail, others get the one that is there.
        """
        return await look_up(ASYNCIO, self._memory, key, mode, force_refresh)

    async def fill(
        self,
        miss: Hit | Miss,
        value: Any,
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
    ) -> bool:
        """Stores what was loaded for `miss`, unless something was invalidated since `lookup`; says whether it did.

        Raises:
            ValueError: The miss was filled or given up already.
        """
        return await self._fill(miss, value, ttl, grace, tags)

    async def warm(
        self,
        keys_or_items: Iterable[Any],
        loader: Callable[[str], Any] | None = None,
        *,
        concurrency: int = 8,
        progress: bool = True,
        once: str | None = None,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
        as_: Any = None,
    ) -> WarmReport:
        """Loads keys that have no fresh value, or stores items, before anybody asks.

        Args:
            keys_or_items: Keys to load, or, without a loader, a mapping or pairs of key and value to store.
            loader: Called with one key; plain or async. An error is noted in the report and stops nothing.
            concurrency: Loads at a time.
            progress: Shows a bar where a terminal watches and tqdm or rich is installed.
            once: Of all processes that warm under this name at a time, one does; the others return at once, and their reports
                say `elsewhere`.
            as_: As for `get_or_set`, of each value.
        """
        storing = self._memory.storing(ttl, grace, tags)
        warming = Warming(
            self._memory, keys_or_items, loader, storing, None if as_ is None else codec(as_), concurrency, progress
        )
        return await (warming.run() if once is None else warming.run_once(once))

    # -- writes
    async def set(
        self, key: str, value: Any, *, ttl: Ttl | None = None, grace: Ttl | None = None, tags: Sequence[str] = ()
    ) -> None:
        """Stores a value, whatever is there or is being loaded.

        Args:
            ttl: How long it is fresh: seconds, a `timedelta`, "5m", the name of a TTL class, or `FOREVER`. At most ten years.
            grace: How long after that it may be served stale, while one caller refreshes it or when that fails.
            tags: Names by which it can be invalidated along with others; up to 64.

        Raises:
            InvalidKey: The key is empty or over 1 KiB.
            InvalidTtl: Zero, negative, not finite, a bool, over ten years, or an unknown name.
            InvalidTag: A tag is empty or reserved, or there are too many.
            UnsupportedValue: The value has no JSON form.
        """
        stored = self._memory.set(key, value, ttl, grace, tags)
        if self._waits:
            await stored

    async def set_many(
        self,
        items: Mapping[str, Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """As `set` for each item; where one is refused, none is stored."""
        stored = self._memory.set_many(items, ttl, grace, tags)
        if self._waits:
            await stored

    async def add(self, key: str, value: Any, *, ttl: Ttl | None = None) -> bool:
        """Stores a value where there is none; says whether it did."""
        added = self._add(key, value, ttl)
        return await added if self._waits else added

    async def incr(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        """Adds to an integer, which counts as 0 where there is none, and returns the sum.

        Args:
            ttl: Of a counter that begins here; one that exists keeps its own.

        Raises:
            NotACounter: The value is no integer, or the sum would not fit into 64 bits.
        """
        total = self._incr(key, by, ttl)
        return await total if self._waits else total

    async def touch(self, key: str, ttl: Ttl) -> bool:
        """Starts the time to live of a value anew; False where there is none."""
        touched = self._touch(key, ttl)
        return await touched if self._waits else touched

    # -- invalidation
    async def delete(self, key: str) -> Removed:
        """Invalidates a key, used literally; 1 where a value was there."""
        removed = self._memory.delete(key)
        return await removed if self._waits else removed

    async def delete_many(self, keys: Iterable[str]) -> Removed:
        """Invalidates keys; counts the values that were there."""
        removed = self._memory.delete_many(keys)
        return await removed if self._waits else removed

    async def invalidate_pattern(self, pattern: str) -> Removed:
        r"""Invalidates every key that matches, and every load of one that is under way; counts the values.

        Args:
            pattern: As Redis has it: `*` any text, `?` one byte, `[a-c]` a class, `\` before what is meant literally.
                Put text into one by `donjon.pattern`.

        Every key is looked at, which takes about 40 ms for a million and holds the event loop as long. Where there are so many,
        `await asyncio.to_thread(cache.sync.invalidate_pattern, pattern)` lets it run on. Over one Redis it holds for every process after
        the first round trip, before the keys are gone; over a cluster when this returns.

        Raises:
            InvalidPattern: It is empty, over 1 KiB, or has too many stars.
        """
        removed = self._memory.invalidate_pattern(pattern)
        return await removed if self._waits else removed

    async def invalidate_tags(self, *tags: str) -> Removed:
        """Invalidates everything stored with one of the tags, at once; gives the number of tags.

        What they covered is found out of date when it is met, so it is not counted.
        """
        removed = self._memory.invalidate_tags(tags)
        return await removed if self._waits else removed

    async def clear(self) -> Removed:
        """Invalidates everything in this namespace, and nothing else."""
        removed = self._memory.clear()
        return await removed if self._waits else removed

    async def emit(self, event: str, /, **params: object) -> Removed:
        """Runs the invalidation rules for an event; counts the values that left.

        Args:
            params: What the event says, for the names in the rules: `emit("document.updated", id=123)`.
        """
        removed = self._memory.emit(event, params)
        return await removed if self._waits else removed

    # -- locks and messages
    def lock(self, name: str, ttl: Ttl, wait: float | None = 10.0) -> Lock:
        """A lock: `async with cache.lock("ingestion:file:123", ttl=300) as held: …`.

        Args:
            ttl: How long it is held should its holder vanish. While the event loop runs it is renewed by itself.
            wait: Seconds to wait for it; 0 tries once, None waits for ever.

        Raises:
            LockTimeout: On entering, it was not free within `wait`.
            InvalidTtl: As for `set`, and for `FOREVER`.
            BackendUnavailable: On entering, Redis could not be asked.
        """
        return Lock(self._memory, name, ttl, wait)

    async def publish(self, channel: str, message: Any, *, raw: bool = False) -> int:
        """Sends a message, any value that a cache can keep, to those who subscribe now.

        Says to how many, and over Redis to how many processes.

        Args:
            channel: A channel of this cache's own, limited as a key is; other namespaces do not hear it.
            raw: Takes `channel` literally, as Redis and whoever else is there call it. In memory, one of this cache's all the
                same, and another than its own of that name.

        Raises:
            BackendUnavailable: Redis did not say that it was sent: it may have been, and is not sent twice.
        """
        reached = self._publish(channel, message, raw)
        return await reached if self._waits else reached

    def subscribe(self, *channels: str, limit: int = 1000, raw: bool = False) -> Subscription:
        """The messages of some channels from now on: `async for message in cache.subscribe("jobs"): …`.

        Args:
            limit: Messages that wait for a slow subscriber; beyond it the oldest are dropped and counted.
            raw: As for `publish`. What is published there and is no JSON comes as bytes; no name is a pattern.
        """
        return Subscription(self._memory, channels, limit, raw)


def _check_bounds(max_bytes: int | None, max_entries: int | None) -> None:
    for name, bound in (("max_bytes", max_bytes), ("max_entries", max_entries)):
        if bound is not None and bound < 1:
            raise ConfigError(f"`{name}` is at least 1, not {bound}: to keep nothing, write enabled=False")


def _seconds(ttl: Ttl) -> float:
    return _donjon.parse_ttl(ttl) if isinstance(ttl, str) else span(ttl)  # type: ignore[return-value]


def _tend(cache: weakref.ref[Cache], loop: asyncio.AbstractEventLoop) -> None:
    """Lets a slice of what expired leave; the next one soon where there is more."""
    found = cache()
    if found is not None and found._tending is not None:
        more = found._memory.core.expire()
        found._tending = loop.call_later(0 if more else _TEND_SECONDS, _tend, cache, loop)
