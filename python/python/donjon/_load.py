"""The load loop: from a key to its value, loading it at most once for everyone who asks.

Owns the manners of a load: it runs in the caller's own task; on every way out the right to load is given up, so that nobody
waits for a load that is no more; a wait is bounded, and past the bound a caller loads for itself and stores nothing. Who
loads, who waits and what is stored are the core's decisions.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import _donjon
from ._backend import AS_USUAL, Backend, Mode, Storing, Tags
from ._donjon import MISS, Failure
from ._errors import DecodeError
from ._loading import enter, is_own, leave, owned
from ._lookup import Hit, Miss
from ._remembered import Errors
from ._runtime import Runtime, deadline_in, seconds_left
from ._types import Codec, itself

if TYPE_CHECKING:
    from ._lookup import AnyLease

__all__ = ["AS_EVER", "Manner", "at_hand", "load", "load_many", "look_up", "own_copy", "peek"]

_LEASES = (_donjon.Lease, _donjon.RemoteLease)
_VALUE, _FAILED = 0, 1
_UNKNOWN: tuple[int, Any] = (2, None)


class Manner(NamedTuple):
    """What a load does otherwise than most."""

    settle: Callable[[Any], Storing | None] | None = None
    """How to store what was loaded, where that depends on it; None: not at all."""
    late_tags: bool = False
    """Whether there will be tags that only what was loaded says."""
    aside_after: float | None = None
    """Seconds after which a stale value is served, while the load goes on beside its caller; None: not before it ends."""
    errors: Errors | None = None
    """What the loader raises and is remembered."""


AS_EVER: Final = Manner()


async def load(
    runtime: Runtime,
    memory: Backend,
    key: str,
    loader: Callable[..., Any],
    args: Iterable[Any] = (),
    storing: Storing = AS_USUAL,
    codec: Codec | None = None,
    since: int | None = None,
    manner: Manner = AS_EVER,
) -> Any:
    """The value of `key`, as `codec` reads it, loaded by `loader(*args)` where there is none.

    A value of another's that is no valid one for this caller is loaded anew: once, and then past the cache.
    `since`: only a value whose load began after that ticket will do.

    Raises:
        DecodeError: What the loader itself gave is no valid one; it is not kept.
    """
    tags = None if manner.late_tags else storing.tags
    reader = None if codec is None else codec.fingerprint
    errors = manner.errors
    step = await _begin(runtime, memory, key, since, tags, reader, errors is not None)
    for retry in (True, False):
        if type(step) in _LEASES:
            work = _lead(runtime, memory, step, loader, args, storing, codec, manner)
            if manner.aside_after is None:
                return await work
            # Who asks for a newer value is offered none that is stale.
            stale = _typed(memory, key, codec, step.stale)
            return await (work if stale is MISS else _aside(memory, key, work, stale, manner.aside_after))
        if type(step) is Failure and errors is not None and (error := errors.recall(step)) is not None:
            raise error
        value = _typed(memory, key, codec, step)
        if value is not MISS:
            return value
        if retry:
            step = await _begin(runtime, memory, key, memory.core.ticket(), tags, reader, errors is not None)
    alone = await _answer(memory, memory.core.bypass(key, reader))
    return await _lead(runtime, memory, alone, loader, args, storing, codec, manner)


def _typed(memory: Backend, key: str, codec: Codec | None, value: Any) -> Any:
    """A stored value as `codec` reads it; MISS where it is none of the type, or nothing was there."""
    if type(value) is Failure:
        return MISS
    if codec is None or value is MISS:
        return value
    try:
        return codec.read(value)
    except DecodeError as error:
        memory.tally.undecodable(key, error)
        return MISS


async def _aside(memory: Backend, key: str, work: Coroutine[Any, Any, Any], stale: Any, seconds: float) -> Any:
    """What `work` gives within that time, or else the stale value; the work goes on."""
    task = asyncio.get_running_loop().create_task(work)
    memory.aside.add(task)
    task.add_done_callback(memory.aside.discard)
    task.add_done_callback(partial(_heard, memory, key))
    if seconds > 0:
        await asyncio.wait((task,), timeout=seconds)
    return task.result() if task.done() and not task.cancelled() else stale


def _heard(memory: Backend, key: str, task: asyncio.Task[Any]) -> None:
    """Takes the error of a load that nobody may be waiting for."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, Exception):
        memory.tally.served_stale(key, error)


async def peek(memory: Backend, key: str, codec: Codec | None, mode: Mode | None) -> Any:
    """The value of `key` as `codec` reads it; MISS where there is none that it can read."""
    reader = None if codec is None else codec.fingerprint
    hit = memory.hit_in(mode)
    value = hit(key, reader) if memory.shared else MISS
    if value is MISS:
        value = memory.get(key, MISS, reader)
        if memory.waits:
            value = await value
    return _typed(memory, key, codec, value)


def at_hand(memory: Backend, keys: Iterable[str], mode: Mode | None, reader: int | None = None) -> dict[str, Any]:
    """What memory in front of a shared backend has, where the call says that it may answer."""
    hit = memory.hit_in(mode)
    if not memory.shared:
        return {}
    return {key: value for key in keys if (value := hit(key, reader)) is not MISS}


async def look_up(
    runtime: Runtime, memory: Backend, key: str, mode: Mode | None, force_refresh: bool = False
) -> Hit | Miss:
    """A hit, or a miss with the right to load."""
    near = at_hand(memory, (key,), mode)
    if near and not force_refresh:
        return Hit(near[key])
    step = await _begin(runtime, memory, key, memory.core.ticket() if force_refresh else None, None, None)
    if type(step) is Failure:
        step = await _begin(runtime, memory, key, memory.core.ticket(), None, None)
    if type(step) not in _LEASES:
        return Hit(step)
    enter(memory.scope, step)
    return Miss(memory.scope, step)


async def load_many(
    runtime: Runtime,
    memory: Backend,
    keys: Iterable[str],
    loader: Callable[[list[str]], Any],
    storing: Storing = AS_USUAL,
    mode: Mode | None = None,
    codec: Codec | None = None,
) -> dict[str, Any]:
    """The values of `keys`, as `codec` reads them; the missing ones come from one call of `loader`, which gives a mapping.

    Loads its own keys before it waits for those of others, so two callers whose keys overlap cannot wait for each other.
    Only where such a load ends without a value is `loader` called again, for those keys.
    """
    wanted = list(dict.fromkeys(keys))
    reader = None if codec is None else codec.fingerprint
    if memory.shared:
        near = at_hand(memory, wanted, mode, reader)
        found = {key: typed for key, value in near.items() if (typed := _typed(memory, key, codec, value)) is not MISS}
        rest = [key for key in wanted if key not in found]
        if rest:
            found |= await _load_many_shared(runtime, memory, rest, loader, storing, codec)
        return {key: found[key] for key in wanted if key in found}
    memory.hit_in(mode)
    found = {}
    order = wanted
    waited: set[str] = set()
    alone: set[str] = set()
    since: dict[
        str, int
    ] = {}  # of those whose value was none of the type: only one that is loaded from then on will do
    while wanted:
        leases: dict[str, _donjon.Lease] = {}
        joins: dict[str, _donjon.Join] = {}
        try:
            unlike: list[str] = []
            for key in wanted:
                newer = since.get(key)
                if key in alone:
                    step = _overdue(memory, key, newer, reader)
                else:
                    step = memory.core.begin(key, newer, key in waited, reader)
                if type(step) is _donjon.Lease:
                    leases[key] = step
                elif type(step) is _donjon.Join:
                    joins[key] = step
                elif (value := _typed(memory, key, codec, step)) is not MISS:
                    found[key] = value
                else:
                    unlike.append(key)
            if leases:
                found.update(await _lead_many(runtime, memory, leases, loader, storing, codec))
            wanted = []
            for key, join in joins.items():
                ended = await _ended(runtime, memory, join, deadline_in(join.at_most))
                kind, value = join.outcome() if ended else _UNKNOWN
                if kind == _VALUE and (value := _typed(memory, key, codec, value)) is not MISS:
                    found[key] = value
                elif kind == _VALUE:
                    unlike.append(key)
                elif kind == _FAILED:
                    raise own_copy(value)
                else:
                    wanted.append(key)
                    waited.add(key)
                    if not ended:
                        alone.add(key)
            since |= dict.fromkeys(unlike, memory.core.ticket())
            waited.update(unlike)
            wanted += unlike
        finally:
            for lease in leases.values():
                lease.abandon()
            for join in joins.values():
                join.leave()
    return {key: found[key] for key in order if key in found}


async def _load_many_shared(
    runtime: Runtime,
    memory: Backend,
    keys: list[str],
    loader: Callable[[list[str]], Any],
    storing: Storing,
    codec: Codec | None,
) -> dict[str, Any]:
    """As `load_many`, all keys asked for at once. What others load is waited for last, one after the other."""
    reader = None if codec is None else codec.fingerprint
    asked = memory.core.begin_many(keys, owned(memory.scope), storing.tag_names(), reader)
    steps = dict(zip(keys, await _answer(memory, asked), strict=True))
    leases = {key: step for key, step in steps.items() if type(step) is _donjon.RemoteLease}
    try:
        for step in steps.values():
            if type(step) is _donjon.Failed:
                raise own_copy(step.take())
        if leases:
            loaded = await _lead_many(runtime, memory, leases, loader, storing, codec)
            steps.update({key: loaded.get(key, _UNKNOWN) for key in leases})
    finally:
        for lease in leases.values():
            lease.abandon()
    for key, step in steps.items():
        if key in leases:
            continue
        since = None
        value = _typed(memory, key, codec, step)
        if value is MISS:
            since = None if step is MISS else memory.core.ticket()
            step = await _begin_shared(runtime, memory, key, since, storing.tags, reader, True)
            if type(step) is not _donjon.RemoteLease and (value := _typed(memory, key, codec, step)) is MISS:
                step = await _answer(memory, memory.core.bypass(key, reader))
            if type(step) is _donjon.RemoteLease:
                value = (await _lead_many(runtime, memory, {key: step}, loader, storing, codec)).get(key, _UNKNOWN)
        steps[key] = value
    return {key: step for key, step in steps.items() if step is not _UNKNOWN}


async def _begin(
    runtime: Runtime,
    memory: Backend,
    key: str,
    since: int | None,
    tags: Tags | None,
    reader: int | None,
    failures: bool = False,
) -> Any:
    """A value, a remembered failure, or a lease to load under; waits for another's load where there is one.

    `failures`: whether one will do. Memory, which only this process has, gives it in any case.
    """
    if memory.shared:
        return await _begin_shared(runtime, memory, key, since, tags, reader, failures=failures)
    deadline = None
    while True:
        step = memory.core.begin(key, since, deadline is not None, reader)
        if type(step) is not _donjon.Join:
            return step
        if deadline is None:
            deadline = deadline_in(step.at_most)
        if not await _ended(runtime, memory, step, deadline):
            return _overdue(memory, key, since, reader)
        kind, value = step.outcome()
        if kind == _VALUE:
            return value
        if kind == _FAILED:
            raise own_copy(value)
        # Nobody's successor is chosen, as it may be cancelled itself: whoever comes first loads.


async def _begin_shared(
    runtime: Runtime,
    memory: Backend,
    key: str,
    since: int | None,
    tags: Tags | None,
    reader: int | None,
    counted: bool = False,
    failures: bool = False,
) -> Any:
    """As `_begin`, where the waiting is done below. What cannot be read is loaded anew: once, and then past the cache."""
    names = tags() if callable(tags) else tags
    own = owned(memory.scope)
    for again in (counted, True):
        try:
            asked = memory.core.begin(key, since, own, names, not runtime.may_wait(), again, reader, failures)
            step = await _answer(memory, asked)
        except DecodeError as error:
            memory.tally.undecodable(key, error)
            since = memory.core.ticket()
            continue
        if type(step) is _donjon.Failed:
            raise own_copy(step.take())
        if step is MISS:
            break
        return step
    return await _answer(memory, memory.core.bypass(key, reader))


async def _answer(memory: Backend, asked: Any) -> Any:
    """What a call comes to. Where its caller is cancelled as it ends, the leases that it gave are given up."""
    if not memory.waits:
        return asked
    try:
        return await asked
    except BaseException:
        if asked.done() and not asked.cancelled() and asked.exception() is None:
            given = asked.result()
            for step in given if type(given) is list else (given,):
                if type(step) is _donjon.RemoteLease:
                    step.abandon()
        raise


def _overdue(memory: Backend, key: str, since: int | None, reader: int | None) -> Any:
    """For who may not wait any longer: the lease of a load that runs past its limit, or one whose fill is never stored."""
    step = memory.core.begin(key, since, True, reader)
    if type(step) is not _donjon.Join:
        return step
    step.leave()
    return memory.core.bypass(key, reader)


async def _ended(runtime: Runtime, memory: Backend, join: _donjon.Join, deadline: float | None) -> bool:
    """Waits for another's load; false where waiting is over, or would be for oneself."""
    if is_own(memory.scope, join) or not runtime.may_wait():
        join.leave()
        return False
    bell = runtime.bell()
    if not join.notify(bell.ring):
        return True
    try:
        ended = await bell.wait(seconds_left(deadline))
    except BaseException:
        join.leave()
        raise
    if not ended:
        join.leave()
    return ended


async def _lead(
    runtime: Runtime,
    memory: Backend,
    lease: AnyLease,
    loader: Callable[..., Any],
    args: Iterable[Any],
    storing: Storing,
    codec: Codec | None,
    manner: Manner,
) -> Any:
    """What the loader gave, as `codec` reads it; what is stale where it failed."""
    token = enter(memory.scope, lease)
    try:
        value = await runtime.call(loader, *args)
        sealed = value if codec is None else codec.seal(value)
        settled = storing if manner.settle is None else manner.settle(value)
    except Exception as error:
        stale = _typed(memory, lease.key, codec, lease.stale)
        if stale is MISS:
            await _fail(memory, lease, error, storing, manner.errors)
            raise
        lease.fail(error)
        memory.tally.served_stale(lease.key, error)
        return stale
    except BaseException:
        lease.abandon()
        raise
    finally:
        leave(token)
    try:
        filled = memory.pass_on(lease, sealed, storing) if settled is None else memory.fill(lease, sealed, settled)
        if memory.waits:
            filled = await filled
        return filled if codec is None else codec.read(filled)
    except BaseException as error:
        lease.fail(error)
        raise


async def _fail(memory: Backend, lease: AnyLease, error: Exception, storing: Storing, errors: Errors | None) -> None:
    """Ends a load that failed, and has that remembered where it is to be."""
    kept = None if errors is None else errors.say(lease.key, error)
    if kept is None:
        lease.fail(error)
        return
    said, seconds = kept
    try:
        remembering = memory.remember(lease, said, storing._replace(ttl=seconds, grace=None))
        if memory.waits:
            await remembering
    except BaseException as trouble:
        lease.fail(trouble)
        raise


async def _lead_many(
    runtime: Runtime,
    memory: Backend,
    leases: Mapping[str, Any],
    loader: Callable[[list[str]], Any],
    storing: Storing,
    codec: Codec | None,
) -> dict[str, Any]:
    """What one call of `loader` gave for the keys of `leases`; a key it left out has no value."""
    tokens = [enter(memory.scope, lease) for lease in leases.values()]
    try:
        values = await runtime.call(loader, list(leases))
        if not isinstance(values, Mapping):
            raise TypeError(
                f"the loader of get_or_set_many gives a mapping from key to value, not {type(values).__name__}"
            )
        seal = itself if codec is None else codec.seal
        pairs = {key: (lease, seal(values[key])) for key, lease in leases.items() if key in values}
        filled = memory.fill_many(list(pairs.values()), storing)
        if memory.waits:
            filled = await filled
        return {key: value if codec is None else codec.read(value) for key, value in zip(pairs, filled, strict=True)}
    except Exception as error:
        stale = {key: _typed(memory, key, codec, lease.stale) for key, lease in leases.items()}
        for lease in leases.values():
            lease.fail(error)
        if any(value is MISS for value in stale.values()):
            raise
        memory.tally.served_stale(next(iter(stale)), error)
        return stale
    finally:
        for token in reversed(tokens):
            leave(token)


def own_copy(error: BaseException) -> BaseException:
    """The error of another's load, to raise as one's own: a shallow copy caused by it.

    Two tasks that raise one object overwrite each other's traceback. What cannot be copied is raised as it is: its type
    matters more, as callers catch by it. So is what its own `__init__` would make another of, as one does that puts its
    argument into a sentence.
    """
    try:
        copied = copy.copy(error)
    except Exception:
        return error
    if type(copied) is not type(error) or copied is error or not _same(copied.args, error.args):
        return error
    copied.__cause__ = error
    return copied


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    # By identity: what an exception carries may not know how to compare itself.
    return len(one) == len(other) and all(map(is_, one, other))
