"""Types of the extension module. It converts between Python and the core; the waiting is done in Python.

Wherever a `wake` is taken: a callable without arguments, called at most once, from whichever thread ends the wait, never
under a lock. What it raises is reported as unraisable and changes nothing.
"""

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

# What stands for "nothing here" where None is a value.
MISS: Final[Any]

Span: TypeAlias = float | str | None  # seconds, "5m" or a TTL class; None: the default. `math.inf` is FOREVER

@final
class ManualClock:
    """A clock that moves when told to, for tests. Starts at 1,000 seconds."""

    def __new__(cls) -> ManualClock: ...
    def advance(self, seconds: float) -> None: ...
    def now(self) -> float: ...

@final
class Settings:
    """What the `CACHE_` variables say. Fields are plain values; `repr` hides the password."""

    backend: str
    enabled: bool
    namespace: str
    near: bool
    max_bytes: int
    max_entries: int | None
    redis_url: str | None  # built from the parts where no URL was given; None for the memory backend
    ttl_classes: dict[str, float]  # "default", "stats", … in seconds
    warnings: list[str]

def parse_settings(pairs: Iterable[tuple[str, str]]) -> Settings: ...

@final
class Core:
    """The memory backend: decides, stores, and hands out copies."""

    def __new__(
        cls,
        *,
        namespace: str = "app",
        max_bytes: int = ...,
        max_entries: int | None = None,
        ttl_classes: Mapping[str, float] | None = None,
        default_ttl: Span = None,
        jitter: float = 0.0,
        early: float = 1.0,
        load_timeout: float = 30.0,
        clock: ManualClock | None = None,
        enabled: bool = True,
        foreign: Callable[[object], object] | None = None,
    ) -> Core:
        """`foreign` turns a value that is no JSON type into one, or raises UnsupportedValue."""
    # -- reads: never wait, never lease
    def get(self, key: str, default: Any = None, reader: int | None = None, /) -> Any: ...
    def hit(self, key: str, reader: int | None = None, /) -> Any:
        """A fresh value's copy, counted as a hit; MISS (counted as nothing) where `begin` must decide.

        `reader`, here and below: the fingerprint of the type that is wanted. What was made from another is an Unproven; what is
        filled under a lease of such a reader is made from it.
        """
    def get_many(self, keys: Sequence[str], /) -> dict[str, Any]: ...
    def exists(self, key: str, /) -> bool: ...
    def ttl(self, key: str, /) -> float | None: ...
    def explain(self, key: str, /) -> dict[str, Any]: ...
    # -- loads
    def ticket(self) -> int:
        """A number for `begin`'s `since`: larger than every load begun so far."""
    def begin(self, key: str, since: int | None = None, again: bool = False, reader: int | None = None, /) -> Any:
        """A value's copy (hit, or stale while another refreshes), a Lease, or a Join.

        `since`: only a value whose load began after that ticket will do (force_refresh). `again`: after waiting; counted already.
        """
    def bypass(self, key: str, reader: int | None = None, /) -> Lease:
        """A lease whose fill is never stored: for a caller that may not wait any longer."""
    def seconds(self, ttl: Span, /) -> float:
        """What `ttl` means here: checks a TTL before a loader runs. None: the default; `math.inf` stays."""
    def grace_seconds(self, grace: Span, /) -> float:
        """The same for a grace. None: none."""
    # -- writes
    def set(
        self,
        key: str,
        value: Any,
        ttl: Span = None,
        grace: Span = None,
        tags: Sequence[str] = ...,
        made_from: int | None = None,
        /,
    ) -> None:
        """`made_from`: the fingerprint of the type that the value was made from."""
    def set_many(
        self, items: Mapping[str, Any], ttl: Span = None, grace: Span = None, tags: Sequence[str] = ..., /
    ) -> None: ...
    def add(self, key: str, value: Any, ttl: Span = None, /) -> bool: ...
    def incr(self, key: str, by: int = 1, ttl: Span = None, /) -> int: ...
    def touch(self, key: str, ttl: Span, /) -> bool: ...
    # -- invalidation: how many values left. What left waits to be freed: see `bury`
    def delete(self, key: str, /) -> int: ...
    def delete_many(self, keys: Sequence[str], /) -> int: ...
    def invalidate_pattern(self, pattern: str, /) -> int: ...
    def invalidate_tags(self, tags: Sequence[str], /) -> int:
        """How many tags were given; entries leave as they are met."""
    def clear(self) -> int: ...
    def bury(self, limit: int = 2000, /) -> bool:
        """Frees up to `limit` values that a sweep removed; true while more are waiting."""
    # -- events
    def on(self, event: str, keys: Sequence[str], patterns: Sequence[str], tags: Sequence[str], /) -> None: ...
    def emit(self, event: str, params: Mapping[str, object], /) -> int: ...
    # -- the rest
    def stats(self) -> dict[str, Any]: ...
    def reset_stats(self) -> None: ...
    def expire(self) -> bool:
        """Lets some entries whose time is over leave; true while more are due."""
    def validate(self) -> None:
        """Recounts everything; raises AssertionError where a count is off. For tests: visits every entry."""

    namespace: str
    enabled: bool  # may be set: the kill switch

@final
class Lease:
    """The right to load a key. Given up when dropped, but callers give it up themselves.

    The first of `fill`, `fail` and `abandon` counts. After it `fail` and `abandon` do nothing and `stale` is MISS.
    """

    key: str
    ticket: int
    stored: bool  # after `fill`
    @property
    def stale(self) -> Any:
        """The copy of a value that is still usable, to serve should the load fail; MISS where there is none."""
    def fill(self, value: Any, ttl: Span = None, grace: Span = None, tags: Sequence[str] = ..., /) -> Any:
        """Stores `value` unless something was invalidated since; gives back the copy a reader would get."""
    def pass_on(self, value: Any) -> Any:
        """Gives `value` to those who wait and stores nothing; gives back a copy."""
    def remember(self, said: Any, ttl: Span, tags: Sequence[str], /) -> None:
        """Stores how the load failed, unless something was invalidated since; who waits gets it as a Failure."""
    def fail(self, error: BaseException, /) -> None: ...
    def abandon(self) -> None: ...

@final
class Join:
    """A place in the queue for somebody else's load."""

    ticket: int
    at_most: float  # seconds to wait before loading oneself
    def notify(self, wake: Callable[[], object], /) -> bool:
        """Calls `wake` when the load ends; false, and no call, where it has ended."""
    def outcome(self) -> tuple[int, Any]:
        """(0, value's copy), (1, the loader's error) or (2, None): look up anew. The first two are given once."""
    def leave(self) -> None: ...

# -- what processes share ---------------------------------------------------------------------------
@final
class Shared:
    """The Redis backend. Each call gives an asyncio future, or, of what `blocking` gives, its outcome.

    What is wrong with an argument is raised by the call itself, before anything is sent.
    """

    def __new__(
        cls,
        url: str,
        told: Any,
        *,
        namespace: str = "app",
        max_value_bytes: int = ...,
        ttl_classes: Mapping[str, float] | None = None,
        default_ttl: Span = None,
        jitter: float = 0.0,
        early: float = 1.0,
        load_timeout: float = 30.0,
        enabled: bool = True,
        foreign: Callable[[object], object] | None = None,
        ca: bytes | None = None,
        connect_timeout: float = 0.25,
        command_timeout: float = 0.1,
        near: bool = False,
        near_broadcast: bool = False,
        near_max_stale: float = 0.0,
        max_bytes: int = ...,
        max_entries: int | None = None,
    ) -> Shared:
        """`told` is told what came of invalidations and stores: see `_shared.Told`."""
    def blocking(self) -> Shared:
        """The same, for threads that block."""
    def ping(self) -> Future[bool]: ...
    def close(self) -> Future[int]:
        """Says what is owed, and closes; gives how much is owed still."""
    # -- reads
    def hit(self, key: str, reader: int | None = None, /) -> Any:
        """What memory in front has, counted as a hit; MISS, counted as nothing, where that is nothing."""
    def get(self, key: str, default: Any = None, reader: int | None = None, /) -> Future[Any]: ...
    def get_many(self, keys: Sequence[str], /) -> Future[dict[str, Any]]: ...
    def exists(self, key: str, /) -> Future[bool]: ...
    def ttl(self, key: str, /) -> Future[float | None]: ...
    def explain(self, key: str, /) -> Future[dict[str, Any]]: ...
    # -- loads
    def ticket(self) -> int: ...
    def begin(
        self,
        key: str,
        since: int | None,
        own: Sequence[int],
        tags: Sequence[str] | None,
        impatient: bool,
        counted: bool,
        reader: int | None,
        failures: bool,
        /,
    ) -> Future[Any]:
        """A value, a RemoteLease, a Failed, or MISS where one would have to wait and is impatient.

        `since`: only a value whose load began after that ticket will do. `own`: tickets of loads that the caller is in the middle
        of. `tags`: those that the value will have; None where that is not known yet. `counted`: as a look-up, before. `failures`:
        whether a Failure will do.

        Raises:
            DecodeError: There is a value, and it cannot be read.
        """
    def begin_many(
        self, keys: Sequence[str], own: Sequence[int], tags: Sequence[str], reader: int | None, /
    ) -> Future[list[Any]]:
        """As `begin` for each of these, none of which waits; MISS where one would have to, or cannot be read."""
    def bypass(self, key: str, reader: int | None = None, /) -> Future[RemoteLease]: ...
    def fill(
        self, lease: RemoteLease, value: Any, ttl: Span = None, grace: Span = None, tags: Sequence[str] = ..., /
    ) -> Future[Any]:
        """Stores `value` unless something was invalidated since; gives back the copy a reader would get."""
    def pass_on(self, lease: RemoteLease, value: Any, tags: Sequence[str] = ..., /) -> Future[Any]:
        """Gives `value` to those who wait and stores nothing; gives back a copy."""
    def remember(self, lease: RemoteLease, said: Any, ttl: Span, tags: Sequence[str], /) -> Future[None]:
        """Stores how the load failed, unless something was invalidated since; who waits gets it as a Failure."""
    def fill_many(
        self,
        pairs: Sequence[tuple[RemoteLease, Any]],
        ttl: Span = None,
        grace: Span = None,
        tags: Sequence[str] = ...,
        /,
    ) -> Future[list[Any]]: ...
    def seconds(self, ttl: Span, /) -> float: ...
    def grace_seconds(self, grace: Span, /) -> float: ...
    # -- writes
    def set(
        self,
        key: str,
        value: Any,
        ttl: Span = None,
        grace: Span = None,
        tags: Sequence[str] = ...,
        made_from: int | None = None,
        /,
    ) -> Future[None]: ...
    def set_many(
        self, items: Mapping[str, Any], ttl: Span = None, grace: Span = None, tags: Sequence[str] = ..., /
    ) -> Future[None]: ...
    def add(self, key: str, value: Any, ttl: Span = None, /) -> Future[bool]: ...
    def incr(self, key: str, by: int = 1, ttl: Span = None, /) -> Future[int]: ...
    def touch(self, key: str, ttl: Span, /) -> Future[bool]: ...
    # -- invalidation: what `told.removed` makes of it
    def delete(self, key: str, /) -> Future[Any]: ...
    def delete_many(self, keys: Sequence[str], /) -> Future[Any]: ...
    def invalidate_pattern(self, pattern: str, /) -> Future[Any]: ...
    def invalidate_tags(self, tags: Sequence[str], /) -> Future[Any]: ...
    def clear(self) -> Future[Any]: ...
    def hold_down(self, keys: Sequence[str], seconds: float, /) -> Future[list[Any]]:
        """Marks keys that are about to change, for so long: nobody stores what they load for them. Gives for each what `lift` takes.

        Raises:
            BackendUnavailable: Redis could not be asked; some may be marked all the same.
        """
    def lift(self, held: Sequence[tuple[str, Any]], /) -> Future[Any]:
        """Invalidates keys, each with what `hold_down` gave for it, or None. A mark that another may need stays, and lasts its time."""
    def owes_nothing(self, at_most: float, /) -> Future[bool]:
        """Waits until Redis was told all that it was to be; false where that takes longer."""
    def on(self, event: str, keys: Sequence[str], patterns: Sequence[str], tags: Sequence[str], /) -> None: ...
    def emit(self, event: str, params: Mapping[str, object], /) -> Future[Any]: ...
    # -- the rest
    def stats(self) -> dict[str, Any]: ...
    def reset_stats(self) -> None: ...

    namespace: str
    url: str  # without a password
    locks: RemoteLocks
    hub: RemoteHub
    enabled: bool  # may be set: the kill switch

@final
class RemoteLease:
    """The right to load a key for all processes; filled by `Shared.fill`. As `Lease` otherwise."""

    key: str
    ticket: int
    stored: bool
    @property
    def stale(self) -> Any: ...
    def fail(self, error: BaseException, /) -> None: ...
    def abandon(self) -> None: ...

@final
class Failed:
    """Another's load failed."""

    def take(self) -> BaseException:
        """The loader's error, once."""

# -- keys, patterns, rules -------------------------------------------------------------------------
ANY: Final[Any]

def key(*parts: str) -> str: ...
def pattern(*parts: Any) -> str: ...
def glob_matches(pattern: str, text: str | bytes) -> bool: ...
def glob_escape(text: str) -> str: ...
def check_key(key: str) -> None: ...
def check_tags(tags: Sequence[str]) -> None: ...
def parse_ttl(text: str) -> float: ...

@final
class Template:
    def __new__(cls, text: str) -> Template: ...
    names: list[str]
    def render(self, parts: Mapping[str, str], /) -> str: ...
    def pattern(self, parts: Mapping[str, str], /) -> str:
        """As `render`, with `*` for every name that `parts` lacks, the literal text escaped."""

# -- values ----------------------------------------------------------------------------------------
@final
class Unproven:
    """A value that was not made from the type that its reader wants, and may be none of it."""

    value: Any

@final
class Failure:
    """What is kept of a load that failed. No value, and given to who loads alone: to all others there is nothing."""

    said: Any

@final
class Value:
    """A value as the cache keeps it. `copy()` is what a reader gets."""

    def __new__(cls, value: Any, foreign: Callable[[object], object] | None = None) -> Value: ...
    def copy(self) -> Any: ...
    weight: int

# -- locks and messages of this process --------------------------------------------------------------
@final
class Locks:
    def __new__(cls, clock: ManualClock | None = None) -> Locks: ...
    def acquire(self, name: str, ttl: float, /) -> tuple[int, int] | None:
        """(token, fence), or None where another holds it."""
    def notify(self, name: str, wake: Callable[[], object], /) -> Waiting | None:
        """Calls `wake` when the lock is given back. None, and no call, where it is free now."""
    @staticmethod
    def renew_after(ttl: float, /) -> float:
        """After how many seconds a lock that lives for `ttl` is to be renewed."""
    def renew(self, name: str, token: int, ttl: float, /) -> bool: ...
    def release(self, name: str, token: int, /) -> bool: ...

@final
class RemoteLocks:
    """The locks of a Redis. Each call gives an asyncio future, or, of a blocking backend, its outcome."""

    def acquire(self, name: str, ttl: float, /) -> Future[tuple[int, int] | None]:
        """(token, fence), or None where another holds it."""
    def wait(self, name: str, at_most: float, /) -> Future[None]:
        """Waits until it may be free, `at_most` so many seconds."""
    def keep(self, name: str, token: int, ttl: float, age: float, /) -> Future[None]:
        """Renews it at a third of its time, and ends when it is lost. It was last asked for `age` seconds ago."""
    def renew(self, name: str, token: int, ttl: float, /) -> Future[bool]: ...
    def release(self, name: str, token: int, /) -> Future[bool]: ...

@final
class RemoteHub:
    """The channels of a Redis."""

    def publish(self, channel: str, data: Any, _received_at: float, raw: bool = False, /) -> Future[int]: ...
    def subscribe(self, channels: Sequence[str], limit: int = 1000, raw: bool = False, /) -> RemoteSubscription: ...

@final
class RemoteSubscription:
    dropped: int
    gaps: int
    closed: bool
    def take(self) -> tuple[str, Any, float] | None: ...
    def arrived(self, at_most: float | None = None, /) -> Future[None]:
        """Waits until there is a message to take, or there will be none; `at_most` so many seconds."""
    def ready(self) -> Future[bool]:
        """Waits until Redis has confirmed the channels; false where it cannot, for now."""
    def close(self) -> None: ...

@final
class Waiting:
    """A place among those who wait for a lock or a message. Kept until it is woken or given up, whether or not this is."""

    at_most: float  # seconds after which to look again, as nobody wakes then; `math.inf` where there is no such time
    def leave(self) -> None:
        """Gives the place up; harmless where it was woken."""

@final
class Hub:
    """Channels of this process: who publishes, who listens."""

    def __new__(cls, foreign: Callable[[object], object] | None = None) -> Hub: ...
    def publish(self, channel: str, data: Any, received_at: float, raw: bool = False, /) -> int: ...
    def subscribe(self, channels: Sequence[str], limit: int = 1000, raw: bool = False, /) -> Subscription: ...

@final
class Subscription:
    dropped: int
    def take(self) -> tuple[str, Any, float] | None: ...
    def notify(self, wake: Callable[[], object], /) -> Waiting | None:
        """Calls `wake` at the next message or at the end. None, and no call, where one is waiting or it is closed."""
    def close(self) -> None: ...
