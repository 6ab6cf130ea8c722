"""Prometheus metrics of this process's part in the model cache.

Knows nothing of who serves them: a Dask worker shows the process's metrics at /metrics beside its own. Of a host's
workers only the one that fetches and serves counts anything; the others stay at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import get_args

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric

from pressrun.cache.messages import Fault
from pressrun.cache.traffic_report import SOURCES, HeldSource, WireSource

_PREFIX = "pressrun_cache"
_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)  # 8-16 MiB at 1.6 GB/s to 0.1 MB/s


class CacheMetrics:
    """Counters and gauges, safe for several threads.

    Parameters
    ----------
    registry : CollectorRegistry
        Where they are shown; a registry takes them once.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._bytes = Counter(f"{_PREFIX}_bytes", "Bytes of models by source", ["source"], registry=registry)
        self._chunks = Counter(f"{_PREFIX}_chunks", "Chunks that came, by source", ["source"], registry=registry)
        self._faults = Counter(f"{_PREFIX}_faults", "Chunks that came wrong or not", ["kind"], registry=registry)
        self._seconds = Histogram(
            f"{_PREFIX}_chunk_seconds", "Time of a chunk by source", ["source"], registry=registry, buckets=_BUCKETS_S
        )
        self._held = Gauge(f"{_PREFIX}_held_bytes", "Bytes of models on this host's disk", registry=registry)
        self._budget = Gauge(
            f"{_PREFIX}_budget_bytes", "Bytes that they may take; +Inf for no limit", registry=registry
        )
        self._waiting = Gauge(f"{_PREFIX}_waiting_chunks", "Chunks that this host waits for", registry=registry)
        self._sent = _Sent()
        registry.register(self._sent)
        for source in SOURCES:  # so that rates and ratios have a 0 to begin at
            self._bytes.labels(source)
        for kind in set(get_args(Fault)) - {"unneeded"}:
            self._faults.labels(kind)

    def received(self, source: WireSource, size_bytes: int, seconds: float) -> None:
        """Count a chunk that came over a wire."""
        self._bytes.labels(source).inc(size_bytes)
        self._chunks.labels(source).inc()
        self._seconds.labels(source).observe(seconds)

    def held(self, size_bytes: int, source: HeldSource = "disk") -> None:
        """Count bytes that were wanted and were here already."""
        self._bytes.labels(source).inc(size_bytes)

    def faulted(self, kind: Fault) -> None:
        """Count a chunk that did not come as it should; one that came another way meanwhile is no fault."""
        if kind != "unneeded":
            self._faults.labels(kind).inc()

    def holds(self, held_bytes: int, budget_bytes: int | None) -> None:
        """Say how much is on the disk, and how much may be; None for no limit."""
        self._held.set(held_bytes)
        self._budget.set(float("inf") if budget_bytes is None else budget_bytes)

    def waits(self, chunks: int) -> None:
        """Say how many chunks this host waits for."""
        self._waiting.set(chunks)

    def sends(self, sent_bytes: Callable[[], int]) -> None:
        """Give what tells how many bytes this host has sent to others; asked whenever somebody looks."""
        self._sent.read = sent_bytes


class _Sent:
    """What a server counts for itself, shown as a counter."""

    def __init__(self) -> None:
        self.read: Callable[[], int] = int

    def collect(self) -> Iterator[Metric]:
        """Yield the counter; called by Prometheus' registry."""
        yield CounterMetricFamily(f"{_PREFIX}_sent_bytes", "Bytes that other hosts got from this one", self.read())


@cache
def cache_metrics() -> CacheMetrics:
    """Return this process's metrics, which its Dask worker shows."""
    return CacheMetrics()


__all__ = ["CacheMetrics", "cache_metrics"]
