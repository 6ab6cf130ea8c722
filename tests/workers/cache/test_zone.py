from __future__ import annotations

from typing import Any

import pytest
from distributed import Client, LocalCluster

from workers.cache.zone import ZONE_VARIABLE, zone_of


def own_zone(dask_worker: Any) -> str:
    return zone_of(dask_worker)


def test_a_worker_is_in_the_zone_of_its_environment_else_of_its_resources_else_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ZONE_VARIABLE, raising=False)
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    for resources, zone in ({"GPU": 1, "zone:east-1": 1}, "east-1"), ({}, ""):
        with LocalCluster(**local, resources=resources) as cluster, Client(cluster) as client:
            assert set(client.run(own_zone).values()) == {zone}
            monkeypatch.setenv(ZONE_VARIABLE, " west ")
            assert set(client.run(own_zone).values()) == {"west"}
            monkeypatch.delenv(ZONE_VARIABLE)
