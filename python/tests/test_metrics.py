"""Prometheus metrics and OpenTelemetry spans of a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from donjon import Cache

pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")
import prometheus_client
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from donjon.opentelemetry import instrument, uninstrument
from donjon.prometheus import CacheCollector


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(provider)
    yield exporter
    uninstrument()


def names(spans: InMemorySpanExporter) -> list[str]:
    return [span.name for span in spans.get_finished_spans()]


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


async def test_prometheus_reads_what_stats_counts(cache: Cache) -> None:
    registry = prometheus_client.CollectorRegistry()
    registry.register(CacheCollector(cache))
    labels = {"namespace": cache.namespace, "backend": cache.backend}
    assert registry.get_sample_value("donjon_hits_total", labels) == 0
    await cache.set("k", 1)
    await cache.get("k")
    await cache.get("missing")
    assert registry.get_sample_value("donjon_hits_total", labels) == 1
    assert registry.get_sample_value("donjon_misses_total", labels) == 1
    assert registry.get_sample_value("donjon_entries", labels) == cache.stats().entries
    text = prometheus_client.generate_latest(registry).decode()
    assert "# TYPE donjon_bytes gauge" in text
    assert "coherence" not in text


@pytest.mark.memory
def test_only_a_cache_is_collected() -> None:
    with pytest.raises(TypeError, match="takes a cache"):
        CacheCollector("redis://")  # type: ignore[arg-type]


async def test_a_load_is_a_span_and_a_hit_is_none(cache: Cache, spans: InMemorySpanExporter) -> None:
    async def load_user() -> int:
        return 1

    for _ in range(2):
        await cache.get_or_set("k", load_user)
    span = only(spans)
    assert span.name == "donjon.load"
    assert str((span.attributes or {})["code.function.name"]).endswith("load_user")


async def test_a_load_that_fails_is_marked_so(cache: Cache, spans: InMemorySpanExporter) -> None:
    def fail() -> None:
        raise LookupError("no such user")

    with pytest.raises(LookupError):
        await cache.get_or_set("k", fail)
    assert only(spans).status.status_code is StatusCode.ERROR


async def test_invalidations_are_spans_that_say_how_many_values_left(cache: Cache, spans: InMemorySpanExporter) -> None:
    await cache.set("user:1", 1)
    await cache.invalidate_pattern("user:*")
    attributes: Any = only(spans).attributes
    assert (attributes["donjon.removed"], attributes["donjon.queued"]) == (1, False)
    assert attributes["donjon.backend"] == cache.backend
    await cache.delete("a secret")
    cache.sync.invalidate_tags("t")
    await cache.clear()
    assert names(spans)[1:] == ["donjon.delete", "donjon.invalidate_tags", "donjon.clear"]
    assert "secret" not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_what_is_ended_makes_no_spans_any_longer(cache: Cache, spans: InMemorySpanExporter) -> None:
    uninstrument()
    await cache.get_or_set("k", lambda: 1)
    await cache.delete("k")
    assert names(spans) == []
