"""Metrics of the cache, as a Prometheus server scrapes them from a real Dask worker."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from workers.cache.metrics import CacheMetrics, cache_metrics
from workers.fleet import LocalFleet


def values(text: str) -> dict[tuple[str, str], float]:
    """Return samples by name and the value of their only label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("pressrun_") and "le" not in sample.labels
    }


def count_some() -> None:
    metrics = cache_metrics()
    metrics.received("origin", 1000, 0.5)
    metrics.received("same_zone", 3000, 0.1)
    metrics.held(500, "memory")
    metrics.faulted("corrupt")
    metrics.holds(4500, 10_000)
    metrics.waits(7)
    metrics.sends(lambda: 250)


def test_a_dask_worker_shows_them_beside_its_own(fleet: LocalFleet) -> None:
    client = fleet.open()
    workers = client.scheduler_info(n_workers=-1)["workers"]
    address, worker = next(iter(workers.items()))
    client.run(count_some, workers=[address])
    port = worker["services"]["dashboard"]
    scraped = httpx.get(f"http://{worker['host']}:{port}/metrics", trust_env=False)
    assert scraped.headers["content-type"].startswith("text/plain")
    told = values(scraped.text)
    assert told["pressrun_cache_bytes_total", "origin"] == 1000
    assert told["pressrun_cache_bytes_total", "same_zone"] == 3000
    assert told["pressrun_cache_bytes_total", "memory"] == 500
    assert told["pressrun_cache_chunks_total", "same_zone"] == 1
    assert told["pressrun_cache_faults_total", "corrupt"] == 1
    assert told["pressrun_cache_held_bytes", ""] == 4500
    assert told["pressrun_cache_budget_bytes", ""] == 10_000
    assert told["pressrun_cache_waiting_chunks", ""] == 7
    assert told["pressrun_cache_sent_bytes_total", ""] == 250
    assert "dask_worker_threads" in scraped.text


def test_everything_that_can_be_counted_begins_at_nothing() -> None:
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    metrics.holds(0, None)
    told = values(generate_latest(registry).decode())
    assert {label for name, label in told if name == "pressrun_cache_bytes_total"} == {
        "origin",
        "same_zone",
        "other_zone",
        "disk",
        "memory",
    }
    assert told["pressrun_cache_faults_total", "timeout"] == 0
    assert told["pressrun_cache_budget_bytes", ""] == float("inf")


def test_a_process_has_them_once() -> None:
    assert cache_metrics() is cache_metrics()
    with pytest.raises(ValueError, match="Duplicated"):
        CacheMetrics()
