"""The cache, as threads and scripts use it: the calls of `Cache`, blocking.

Threads and tasks share loads: either may wait for the other's. Only a thread that runs an event loop never waits, as the load
might be that loop's own: it loads for itself and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from ._backend import Mode
from ._donjon import MISS
from ._face import Face, key_list
from ._load import load_many, look_up
from ._lock import SyncLock
from ._lookup import Hit, Miss
from ._pubsub import SyncSubscription
from ._remembered import ErrorTtls
from ._removed import Removed
from ._runtime import BLOCKING, complete
from ._ttl import Ttl
from ._types import codec
from ._warm import Warming, WarmReport

__all__ = ["SyncCache"]

T = TypeVar("T")
D = TypeVar("D")


class SyncCache(Face):
    """The blocking face of a `Cache`, from `cache.sync`; what `Cache` says of a call holds here as well.

    Examples:
        >>> from donjon import Cache
        >>> cache = Cache.memory().sync
        >>> cache.set("user:1", {"name": "Ada"}, ttl="5m")
        >>> cache.get("user:1")
        {'name': 'Ada'}
        >>> cache.get_or_set("user:2", lambda: {"name": "Grace"})
        {'name': 'Grace'}
        >>> cache.invalidate_pattern("user:*")
        2
    """

    def ping(self) -> bool:
        """Whether the backend answers."""
        return not self._memory.closed and self._memory.ping()

    # -- reads
    @overload
    def get(self, key: str, default: Any = None, *, mode: Mode | None = None) -> Any: ...
    @overload
    def get(self, key: str, default: D, *, as_: type[T], mode: Mode | None = None) -> T | D: ...
    @overload
    def get(self, key: str, *, as_: type[T], mode: Mode | None = None) -> T | None: ...
    @overload
    def get(self, key: str, default: Any = None, *, as_: Any, mode: Mode | None = None) -> Any: ...

    def get(self, key: str, default: Any = None, *, as_: Any = None, mode: Mode | None = None) -> Any:
        """The value of a key; `default` where there is none."""
        if as_ is None and mode is None:
            memory = self._memory
            if self._shared and (value := memory.hit(key)) is not MISS:
                return value
            return memory.get(key, default)
        return complete(self._get_as(key, default, as_, mode))

    def get_many(self, keys: Iterable[str], *, mode: Mode | None = None) -> dict[str, Any]:
        """The values of those keys that have one."""
        return complete(self._get_many(keys, mode))

    def exists(self, key: str) -> bool:
        """Whether the key has a value that may be served."""
        return self._memory.core.exists(key)

    def ttl(self, key: str) -> float | None:
        """Seconds for which the value is still fresh."""
        return self._memory.core.ttl(key)

    def explain(self, key: str) -> dict[str, Any]:
        """What the cache knows of a key."""
        return self._memory.core.explain(key)

    # -- loads
    @overload
    def get_or_set(
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
    def get_or_set(
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

    def get_or_set(
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
        """The value of a key, loaded by one caller, in its own thread, for everyone who asks meanwhile."""
        if as_ is None and mode is None and not force_refresh:
            value = self._memory.hit(key)
            if value is not MISS:
                return value
        return complete(self._load(BLOCKING, key, loader, ttl, grace, tags, force_refresh, as_, mode, errors))

    def get_or_set_many(
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
        """The values of `keys`; the missing ones from one call of `loader`."""
        storing = self._memory.storing(ttl, grace, tags)
        return complete(
            load_many(
                BLOCKING, self._memory, key_list(keys), loader, storing, mode, None if as_ is None else codec(as_)
            )
        )

    def lookup(self, key: str, *, mode: Mode | None = None, force_refresh: bool = False) -> Hit | Miss:
        """A hit, or a miss that holds the right to load; leave it by `fill` or by the end of a `with`."""
        return complete(look_up(BLOCKING, self._memory, key, mode, force_refresh))

    def fill(
        self,
        miss: Hit | Miss,
        value: Any,
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
    ) -> bool:
        """Stores what was loaded for `miss`, unless something was invalidated since `lookup`."""
        return complete(self._fill(miss, value, ttl, grace, tags))

    def warm(
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
        """Loads keys that have no fresh value, in `concurrency` threads, or stores items."""
        storing = self._memory.storing(ttl, grace, tags)
        warming = Warming(
            self._memory, keys_or_items, loader, storing, None if as_ is None else codec(as_), concurrency, progress
        )
        return warming.run_in_threads() if once is None else warming.run_in_threads_once(once)

    # -- writes
    def set(
        self, key: str, value: Any, *, ttl: Ttl | None = None, grace: Ttl | None = None, tags: Sequence[str] = ()
    ) -> None:
        """Stores a value, whatever is there or is being loaded."""
        self._memory.set(key, value, ttl, grace, tags)

    def set_many(
        self,
        items: Mapping[str, Any],
        *,
        ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """As `set` for each item; where one is refused, none is stored."""
        self._memory.set_many(items, ttl, grace, tags)

    def add(self, key: str, value: Any, *, ttl: Ttl | None = None) -> bool:
        """Stores a value where there is none; says whether it did."""
        return self._add(key, value, ttl)

    def incr(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        """Adds to an integer, which counts as 0 where there is none, and returns the sum."""
        return self._incr(key, by, ttl)

    def touch(self, key: str, ttl: Ttl) -> bool:
        """Starts the time to live of a value anew; False where there is none."""
        return self._touch(key, ttl)

    # -- invalidation
    def delete(self, key: str) -> Removed:
        """Invalidates a key, used literally; 1 where a value was there."""
        return self._memory.delete(key)

    def delete_many(self, keys: Iterable[str]) -> Removed:
        """Invalidates keys; counts the values that were there."""
        return self._memory.delete_many(keys)

    def invalidate_pattern(self, pattern: str) -> Removed:
        """Invalidates every key that matches, and every load of one that is under way; counts the values."""
        return self._memory.invalidate_pattern(pattern)

    def invalidate_tags(self, *tags: str) -> Removed:
        """Invalidates everything stored with one of the tags, at once; gives the number of tags."""
        return self._memory.invalidate_tags(tags)

    def clear(self) -> Removed:
        """Invalidates everything in this namespace, and nothing else."""
        return self._memory.clear()

    def emit(self, event: str, /, **params: object) -> Removed:
        """Runs the invalidation rules for an event; counts the values that left."""
        return self._memory.emit(event, params)

    # -- locks and messages
    def lock(self, name: str, ttl: Ttl, wait: float | None = 10.0) -> SyncLock:
        """A lock: `with cache.sync.lock("ingestion:file:123", ttl=300) as held: …`. Not renewed by itself."""
        return SyncLock(self._memory, name, ttl, wait)

    def publish(self, channel: str, message: Any, *, raw: bool = False) -> int:
        """Sends a message to those who subscribe now; says to how many."""
        return self._publish(channel, message, raw)

    def subscribe(self, *channels: str, limit: int = 1000, raw: bool = False) -> SyncSubscription:
        """The messages of some channels from now on: `for message in cache.sync.subscribe("jobs"): …`."""
        return SyncSubscription(self._memory, channels, limit, raw)
