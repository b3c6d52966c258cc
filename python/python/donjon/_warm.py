"""Warming: fills the cache before anybody asks, with bounded concurrency, and by one process of many where that is wanted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ._backend import Backend, Storing
from ._errors import CacheClosed, LockTimeout
from ._load import load
from ._lock import Lock, SyncLock
from ._runtime import ASYNCIO, BLOCKING, Runtime, complete
from ._types import Codec

__all__ = ["WarmReport", "Warming"]


@dataclass(frozen=True)
class WarmReport:
    """What became of each key."""

    loaded: int
    """Keys that have a new value."""
    skipped: int
    """Keys that had a fresh one already."""
    failed: int
    """Keys without one, since loading them failed."""
    errors: Mapping[str, Exception] = field(repr=False)
    """The errors of those, by key."""
    elsewhere: bool = False
    """Whether another process is warming under the same name, and this one has left it to that."""


# The lock is renewed while the event loop runs; should the process vanish, another may warm after this. Threads have nobody to renew it.
_ONCE_SECONDS = 30
_ONCE_SECONDS_UNRENEWED = 600


class Warming:
    """One run over some keys. Any number of workers take from it, each the next key when it is done with its last.

    One thread or task at a time takes the next key: `keys` may be a generator.
    """

    def __init__(
        self,
        memory: Backend,
        keys_or_items: Iterable[Any],
        loader: Callable[[str], Any] | None,
        storing: Storing,
        codec: Codec | None,
        concurrency: int,
        progress: bool,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {concurrency}")
        self._memory = memory
        self._loader = loader
        self._storing = storing
        self._codec = codec
        self._concurrency = concurrency
        if loader is None and isinstance(keys_or_items, Mapping):
            keys_or_items = keys_or_items.items()
        self._total = len(keys_or_items) if isinstance(keys_or_items, Sized) else None
        self._work: Iterator[Any] = iter(keys_or_items)
        self._progress = progress
        self._ran: list[bool] = []  # appended to by many threads at once, which counts right without a lock
        self._errors: dict[str, Exception] = {}

    async def run_once(self, name: str) -> WarmReport:
        """As `run`, unless somebody else is at it under this name."""
        try:
            async with Lock(self._memory, f"warm:{name}", _ONCE_SECONDS, 0):
                return await self.run()
        except LockTimeout:
            return WarmReport(0, 0, 0, {}, elsewhere=True)

    def run_in_threads_once(self, name: str) -> WarmReport:
        """As `run_in_threads`, unless somebody else is at it under this name."""
        try:
            with SyncLock(self._memory, f"warm:{name}", _ONCE_SECONDS_UNRENEWED, 0):
                return self.run_in_threads()
        except LockTimeout:
            return WarmReport(0, 0, 0, {}, elsewhere=True)

    async def run(self) -> WarmReport:
        with _bar(self._total, self._progress) as bar:
            workers = [asyncio.ensure_future(self._worker(ASYNCIO, bar)) for _ in range(self._concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self._report()

    def run_in_threads(self) -> WarmReport:
        self._work = iter(list(self._work))  # a generator cannot be entered by two threads; a list's iterator can
        with _bar(self._total, self._progress) as bar, ThreadPoolExecutor(self._concurrency) as pool:
            workers = [pool.submit(complete, self._worker(BLOCKING, bar)) for _ in range(self._concurrency)]
            for worker in workers:
                worker.result()
        return self._report()

    async def _worker(self, runtime: Runtime, bar: Any) -> None:
        for item in self._work:
            await self._one(runtime, item)
            if bar is not None:
                bar.update()

    async def _one(self, runtime: Runtime, item: Any) -> None:
        if self._loader is None:
            key, value = item
            try:
                of = self._codec
                sealed, made_from = (value, None) if of is None else (of.seal(value), of.fingerprint)
                stored = self._memory.store(key, sealed, self._storing, made_from)
                if self._memory.waits:
                    await stored
            except CacheClosed:
                raise
            except Exception as error:
                self._errors[key] = error
            else:
                self._ran.append(True)
            return
        ran = False

        def loader(key: str) -> Any:
            nonlocal ran
            ran = True
            assert self._loader is not None
            return self._loader(key)

        try:
            await load(runtime, self._memory, item, loader, (item,), self._storing, self._codec)
        except CacheClosed:
            raise
        except Exception as error:
            self._errors[item] = error
        else:
            # Where another loaded it meanwhile, there was nothing left to do.
            self._ran.append(ran)

    def _report(self) -> WarmReport:
        loaded = sum(self._ran)
        return WarmReport(loaded, len(self._ran) - loaded, len(self._errors), self._errors)


class _RichBar:
    """A bar of rich, as tqdm's are."""

    def __init__(self, progress: Any, total: int | None) -> None:
        self._progress = progress
        self._total = total

    def __enter__(self) -> _RichBar:
        self._progress.start()
        self._task = self._progress.add_task("warming", total=self._total)
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def update(self) -> None:
        self._progress.advance(self._task)


def _bar(total: int | None, wanted: bool) -> AbstractContextManager[Any]:
    """A progress bar where somebody watches and tqdm or rich is installed."""
    if not wanted or not sys.stderr.isatty():
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError:
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            return nullcontext()
        return _RichBar(Progress(console=Console(file=sys.stderr)), total)
    bar: AbstractContextManager[Any] = tqdm(total=total, desc="warming", unit="key")
    return bar
