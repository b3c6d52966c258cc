"""What `lookup` answers: a hit, or a miss that holds the right to load.

For loads that do not fit into a function: between `lookup` and `fill` an invalidation voids the miss, so that what was read
before it is never stored after it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._donjon import MISS
from ._loading import forget

if TYPE_CHECKING:
    from typing_extensions import Self

    from . import _donjon

    AnyLease: TypeAlias = _donjon.Lease | _donjon.RemoteLease

__all__ = ["Hit", "Miss"]


class _Found:
    """Lets `with` and `async with` stand over what `lookup` gave, whichever it is."""

    __slots__ = ()

    def _leave(self, error: BaseException | None) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave(error)


class Hit(_Found):
    """The key has a value. True in a condition, also where the value is not.

    Examples:
        >>> found = Hit(None)
        >>> bool(found), found.value
        (True, None)
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
        """A copy of the value."""

    def __bool__(self) -> Literal[True]:  # so that a type checker knows which it is inside `if found:`
        return True

    def __repr__(self) -> str:
        return "<Hit>"


class Miss(_Found):
    """The key has no value, and whoever holds this may load it. False in a condition.

    Others who ask for the key wait until this is filled or given up, so leave it by `fill`, by the end of its `with` block,
    or by `abandon`. An exception that leaves the block reaches those who wait.
    """

    __slots__ = ("_lease", "_scope")

    def __init__(self, scope: object, lease: AnyLease) -> None:
        self._scope = scope
        self._lease: AnyLease | None = lease

    def __bool__(self) -> Literal[False]:
        return False

    def __del__(self) -> None:
        # The lease ends by itself; the task that looked up would remember its load for ever.
        self._leave(None)

    def __repr__(self) -> str:
        return "<Miss>" if self._lease is not None else "<Miss: given up>"

    @property
    def stale(self) -> Any:
        """A copy of the value that others are served until this is filled, past its time to live; `MISS` where there is none."""
        return MISS if self._lease is None else self._lease.stale

    def take(self) -> AnyLease:
        """The right to load, for the cache's own `fill`; this object has it no longer."""
        lease, self._lease = self._lease, None
        if lease is None:
            raise ValueError("this miss was filled or given up already: look the key up again")
        forget(self._scope, lease)
        return lease

    def abandon(self) -> None:
        """Gives up the right to load: those who wait look up anew, and one of them loads."""
        self._leave(None)

    def _leave(self, error: BaseException | None) -> None:
        if self._lease is None:
            return
        lease = self.take()
        if isinstance(error, Exception):
            lease.fail(error)
        else:
            lease.abandon()
