"""Metrics of the cache, as a Prometheus server scrapes them from a real Dask worker."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.workers.cache.scraping import values
from workers.cache.metrics import CacheMetrics, HostNow, cache_metrics
from workers.fleet import LocalFleet


def count_some() -> None:
    metrics = cache_metrics()
    metrics.received("origin", 1000, 0.5)
    metrics.received("same_zone", 3000, 0.1)
    metrics.held(500, "memory")
    metrics.faulted("corrupt")
    metrics.shows("~/models", lambda: HostNow(4500, 10_000, waiting_chunks=7, sent_bytes=250))


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
    assert told["pressrun_cache_held_bytes", "~/models"] == 4500
    assert told["pressrun_cache_budget_bytes", "~/models"] == 10_000
    assert told["pressrun_cache_waiting_chunks", "~/models"] == 7
    assert told["pressrun_cache_sent_bytes_total", "~/models"] == 250
    assert "dask_worker_threads" in scraped.text


def test_everything_that_can_be_counted_begins_at_nothing() -> None:
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    assert "held_bytes" not in generate_latest(registry).decode()  # which a host's other workers would say twice
    metrics.shows("~/models", lambda: HostNow(0, None, 0, 0))
    told = values(generate_latest(registry).decode())
    assert {label for name, label in told if name == "pressrun_cache_bytes_total"} == {
        "origin",
        "same_zone",
        "other_zone",
        "disk",
        "memory",
    }
    assert told["pressrun_cache_faults_total", "timeout"] == 0
    assert told["pressrun_cache_budget_bytes", "~/models"] == float("inf")


def test_what_cannot_be_read_costs_no_other_metric() -> None:
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    metrics.received("origin", 5, 0.1)

    def read() -> HostNow:
        raise OSError("the disk is gone")

    metrics.shows("~/models", read)
    told = values(generate_latest(registry).decode())
    assert told["pressrun_cache_bytes_total", "origin"] == 5
    assert ("pressrun_cache_held_bytes", "~/models") not in told


def test_two_caches_of_a_process_are_told_apart_and_one_that_another_process_keeps_by_now_is_not_told() -> None:
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)

    def shared() -> HostNow:
        return HostNow(100, None, 1, 10)

    metrics.shows("~/models", shared)
    metrics.shows("~/models-acme", lambda: HostNow(200, 300, 2, 20))
    told = values(generate_latest(registry).decode())
    held = {label: value for (name, label), value in told.items() if name == "pressrun_cache_held_bytes"}
    assert held == {"~/models": 100, "~/models-acme": 200}
    metrics.hides("~/models", lambda: HostNow(0, None, 0, 0))  # of a worker in another thread, which shows nothing
    assert ("pressrun_cache_held_bytes", "~/models") in values(generate_latest(registry).decode())
    metrics.hides("~/models", shared)
    told = values(generate_latest(registry).decode())
    assert ("pressrun_cache_held_bytes", "~/models") not in told
    assert told["pressrun_cache_sent_bytes_total", "~/models-acme"] == 20


def test_a_process_has_them_once() -> None:
    assert cache_metrics() is cache_metrics()
    with pytest.raises(ValueError, match="Duplicated"):
        CacheMetrics()
