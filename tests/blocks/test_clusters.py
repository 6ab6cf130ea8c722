from __future__ import annotations

import multiprocessing

import pytest
from distributed import LocalCluster
from pydantic import ValidationError

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster


def test_a_local_cluster_is_checked_by_starting_a_worker_and_stopping_it_again() -> None:
    line = LocalDaskCluster(workers=1).check()
    assert "1 workers, 2 threads" in line
    assert multiprocessing.active_children() == []


def test_a_running_scheduler_is_checked_and_keeps_its_workers() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        line = ExistingDaskCluster(address=cluster.scheduler_address).check()
        assert line == f"{cluster.scheduler_address}: 2 workers, 2 threads"
        assert len(cluster.scheduler.workers) == 2


@pytest.mark.parametrize("address", ["", "10.0.0.5:8786", "tcp://10.0.0.5", "tcp://:x"])
def test_what_is_no_address_of_a_scheduler_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="address"):
        ExistingDaskCluster(address=address)


@pytest.mark.parametrize("setting", [{"workers": 0}, {"memory_limit_gb": 0}, {"price_per_worker_hour": -1}])
def test_numbers_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        LocalDaskCluster(**setting)


def test_a_memory_limit_in_gigabytes_becomes_bytes() -> None:
    assert LocalDaskCluster(memory_limit_gb=1.5).fleet().memory_limit_bytes == 1_500_000_000
