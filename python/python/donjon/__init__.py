"""One cache for Python, JavaScript and Rust that never serves what was invalidated.

    from donjon import get_cache

    cache = get_cache()

    @cache.cached("user:profile:{user_id}", ttl="5m", tags=["user:{user_id}"])
    async def get_user_profile(user_id: int) -> UserProfile: ...

    await get_user_profile(5)                 # loads once, for everyone who asks meanwhile
    await get_user_profile.invalidate(5)      # what was read before this is never served after it

Start with `Cache`; `cache.sync` is the same for threads and scripts. What can go wrong is in one tree, below `DonjonError`.
"""

from ._arguments import NoKey
from ._cache import Cache
from ._cached import CachedCoroutine, CachedFunction
from ._errors import (
    BackendUnavailable,
    CacheClosed,
    ConfigError,
    DecodeError,
    DonjonError,
    InvalidationQueued,
    InvalidKey,
    InvalidNamespace,
    InvalidPattern,
    InvalidRule,
    InvalidTag,
    InvalidTemplate,
    InvalidTtl,
    LoadTimeout,
    LockError,
    LockLost,
    LockTimeout,
    NotACounter,
    UnsupportedValue,
    ValueTooLarge,
)
from ._keys import ANY, key, pattern
from ._lock import Lock, SyncLock
from ._lookup import Hit, Miss
from ._plan import CacheInfo
from ._process import get_cache
from ._pubsub import Message, Subscription, SyncSubscription
from ._removed import Removed
from ._rules import Rules
from ._stats import CacheStats
from ._sync import SyncCache
from ._ttl import FOREVER, Ttl
from ._warm import WarmReport

__all__ = [
    "ANY",
    "FOREVER",
    "BackendUnavailable",
    "Cache",
    "CacheClosed",
    "CacheInfo",
    "CacheStats",
    "CachedCoroutine",
    "CachedFunction",
    "ConfigError",
    "DecodeError",
    "DonjonError",
    "Hit",
    "InvalidKey",
    "InvalidNamespace",
    "InvalidPattern",
    "InvalidRule",
    "InvalidTag",
    "InvalidTemplate",
    "InvalidTtl",
    "InvalidationQueued",
    "LoadTimeout",
    "Lock",
    "LockError",
    "LockLost",
    "LockTimeout",
    "Message",
    "Miss",
    "NoKey",
    "NotACounter",
    "Removed",
    "Rules",
    "Subscription",
    "SyncCache",
    "SyncLock",
    "SyncSubscription",
    "Ttl",
    "UnsupportedValue",
    "ValueTooLarge",
    "WarmReport",
    "get_cache",
    "key",
    "pattern",
]
