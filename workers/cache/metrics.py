"""Prometheus metrics of this process's part in the model cache.

Knows nothing of who serves them: a Dask worker shows the process's metrics at /metrics beside its own. Of a host's
workers the one that fetches and serves counts for all; how things stand on the host is shown by that one alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import get_args

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pressrun.cache.messages import Fault
from pressrun.cache.traffic_report import SOURCES, HeldSource, WireSource

_PREFIX = "pressrun_cache"
_LABELS = ("cache",)  # of what stands so in one cache and not in another
logger = logging.getLogger(__name__)
_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)  # 8-16 MiB at 1.6 GB/s to 0.1 MB/s


@dataclass(frozen=True, slots=True)
class HostNow:
    """How things stand on a host.

    Parameters
    ----------
    held_bytes : int
        Models on its disk.
    budget_bytes : int or None
        What they may take; None for no limit.
    waiting_chunks : int
        Chunks that are to come.
    sent_bytes : int
        Bytes that other hosts got from it.
    """

    held_bytes: int
    budget_bytes: int | None
    waiting_chunks: int
    sent_bytes: int


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
        self._now = _Now()
        registry.register(self._now)
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

    def shows(self, cache: str, read: Callable[[], HostNow]) -> None:
        """Show how things stand on this host in one cache, by what tells that.

        Parameters
        ----------
        cache : str
            The cache, as its label is to be.
        read : callable
            Asked whenever somebody looks, so it must not wait.
        """
        self._now.reads[cache] = read

    def hides(self, cache: str, read: Callable[[], HostNow]) -> None:
        """Show no more of a cache what this tells, as another process of the host may show it by now."""
        if self._now.reads.get(cache) == read:
            del self._now.reads[cache]


class _Now:
    """What is read when somebody looks."""

    def __init__(self) -> None:
        self.reads: dict[str, Callable[[], HostNow]] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; called by Prometheus' registry."""
        found = {name: now for name, read in list(self.reads.items()) if (now := _told_by(read)) is not None}
        if not found:
            return
        held = GaugeMetricFamily(f"{_PREFIX}_held_bytes", "Bytes of models on this host's disk", labels=_LABELS)
        budget = GaugeMetricFamily(f"{_PREFIX}_budget_bytes", "Bytes that they may take; +Inf: any", labels=_LABELS)
        waiting = GaugeMetricFamily(f"{_PREFIX}_waiting_chunks", "Chunks that this host waits for", labels=_LABELS)
        sent = CounterMetricFamily(f"{_PREFIX}_sent_bytes", "Bytes that other hosts got from this one", labels=_LABELS)
        for name, now in found.items():
            held.add_metric([name], now.held_bytes)
            budget.add_metric([name], float("inf") if now.budget_bytes is None else now.budget_bytes)
            waiting.add_metric([name], now.waiting_chunks)
            sent.add_metric([name], now.sent_bytes)
        yield from (held, budget, waiting, sent)


def _told_by(read: Callable[[], HostNow]) -> HostNow | None:
    try:
        return read()
    except Exception:  # it would cost the worker's other metrics
        logger.warning("how the cache stands could not be read", exc_info=True)
        return None


@cache
def cache_metrics() -> CacheMetrics:
    """Return this process's metrics, which its Dask worker shows."""
    return CacheMetrics()


__all__ = ["CacheMetrics", "HostNow", "cache_metrics"]
