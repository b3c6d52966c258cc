"""What donjon raises.

```
DonjonError                          catches everything below
├── InvalidKey                       ValueError    a key is empty, too long, or no valid text
├── InvalidPattern                   ValueError    a pattern is empty or past its limits
├── InvalidTtl                       ValueError    a time to live is not positive, not finite, or over ten years
├── InvalidTag                       ValueError    a tag is empty, reserved, or one too many
├── InvalidNamespace                 ValueError    a namespace has other characters than letters, digits, `.`, `_`, `-`
├── InvalidTemplate                  ValueError    a key template cannot be read, or a name in it has no value
├── ConfigError                      ValueError    a setting is wrong; names the variable and what is accepted
├── UnsupportedValue                 TypeError     a value has no JSON form; names the place in it, never the value
├── DecodeError                      ValueError    what was stored cannot be read as the type asked for
├── NotACounter                      TypeError     `incr` met a value that is no integer
├── ValueTooLarge                    ValueError    a value is over the limit for one entry
├── InvalidRule                      ValueError    an invalidation rule, or the event that met it, is wrong
├── LockError
│   ├── LockTimeout                  TimeoutError  the lock was not free within `wait`
│   └── LockLost                                   the lock was lost, or is another's
├── LoadTimeout                      TimeoutError  a loader took longer than `load_timeout`
├── BackendUnavailable               ConnectionError  redis could not be asked, or refused
├── InvalidationQueued                             an invalidation could not be sent yet (only with `strict=True`)
└── CacheClosed                      RuntimeError  the cache was used after `close()`
```

The second name is the built-in class that each is as well, so code that knows nothing of donjon can catch it. Every one
survives `pickle` and `copy`, as exceptions that cross process pools must.

Examples:
    >>> issubclass(InvalidKey, ValueError) and issubclass(InvalidKey, DonjonError)
    True
    >>> issubclass(LockTimeout, TimeoutError) and issubclass(LockTimeout, LockError)
    True
"""

__all__ = [
    "BackendUnavailable",
    "CacheClosed",
    "ConfigError",
    "DecodeError",
    "DonjonError",
    "InvalidKey",
    "InvalidNamespace",
    "InvalidPattern",
    "InvalidRule",
    "InvalidTag",
    "InvalidTemplate",
    "InvalidTtl",
    "InvalidationQueued",
    "LoadTimeout",
    "LockError",
    "LockLost",
    "LockTimeout",
    "NotACounter",
    "UnsupportedValue",
    "ValueTooLarge",
]


class DonjonError(Exception):
    """Anything that donjon raises of its own."""


class InvalidKey(DonjonError, ValueError):
    """A key is empty, too long, or no valid text."""


class InvalidPattern(DonjonError, ValueError):
    """A pattern is empty or past its limits."""


class InvalidTtl(DonjonError, ValueError):
    """A time to live is not positive, not finite, or over ten years."""


class InvalidTag(DonjonError, ValueError):
    """A tag is empty, reserved, or one too many."""


class InvalidNamespace(DonjonError, ValueError):
    """A namespace has other characters than letters, digits, `.`, `_` and `-`, or more than 64 of them."""


class InvalidTemplate(DonjonError, ValueError):
    """A key template cannot be read, or a name in it has no value."""


class ConfigError(DonjonError, ValueError):
    """A setting is wrong. The message names the variable and what is accepted, never a password."""


class UnsupportedValue(DonjonError, TypeError):
    """A value has no JSON form. The message names the place in it, never the value."""


class DecodeError(DonjonError, ValueError):
    """What was stored cannot be read as the type asked for."""


class NotACounter(DonjonError, TypeError):
    """`incr` met a value that is no integer."""


class ValueTooLarge(DonjonError, ValueError):
    """A value is over the limit for one entry."""


class InvalidRule(DonjonError, ValueError):
    """An invalidation rule, or the event that met it, is wrong."""


class LockError(DonjonError):
    """A lock could not be had or kept."""


class LockTimeout(LockError, TimeoutError):
    """The lock was not free within `wait`."""


class LockLost(LockError):
    """The lock was lost, or is another's."""


class LoadTimeout(DonjonError, TimeoutError):
    """A loader took longer than `load_timeout`, and nothing usable was left to serve."""


class BackendUnavailable(DonjonError, ConnectionError):
    """Redis could not be asked, or refused. Raised by what has to know: counting, locks, messages; by no read."""


class InvalidationQueued(DonjonError):
    """An invalidation could not be sent yet: it is queued, and will be sent before this process's next remote read."""


class CacheClosed(DonjonError, RuntimeError):
    """The cache was used after `close()`."""
