"""Prometheus (extra `donjon[prometheus]`): the counters of a cache as metrics.

    from prometheus_client import REGISTRY

    REGISTRY.register(CacheCollector(cache))

Read when they are scraped, so counting them costs a hit nothing. Of this process alone: under several workers each has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ._face import Face
from ._stats import CacheStats

__all__ = ["CacheCollector"]

_PRESENT = frozenset({"entries", "bytes", "flights", "queued"})
_NO_NUMBER = frozenset({"coherence", "last_push"})
_LABELS = ("namespace", "backend")


class CacheCollector(Collector):
    """The statistics of one cache: `donjon_hits_total`, `donjon_entries` and so on, by namespace and backend.

    `stats()` says what each counts. `reset_stats` sets the counters back, which Prometheus takes for a restart.

    Args:
        cache: A `Cache`, or its `sync`.
    """

    def __init__(self, cache: Face) -> None:
        if not isinstance(cache, Face):
            raise TypeError(f"CacheCollector takes a cache, not {type(cache).__name__}")
        self._cache = cache

    def describe(self) -> list[Metric]:
        """None: asked when it is registered, as the cache may not be open yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family for each number of `stats()`."""
        stats = self._cache.stats()
        labels = (self._cache.namespace, self._cache.backend)
        for field in fields(CacheStats):
            if field.name in _NO_NUMBER:
                continue
            kind = GaugeMetricFamily if field.name in _PRESENT else CounterMetricFamily
            family = kind(f"donjon_{field.name}", f"{field.name} of a donjon cache", labels=_LABELS)
            family.add_metric(labels, getattr(stats, field.name))
            yield family
