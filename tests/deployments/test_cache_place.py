"""Runs, releases and `pressrun cache` mean the same folder by the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.cache_choice import CacheChoice
from deployments.cache_place import CachePlace
from deployments.generate_command import GenerateOptions, parameters_of
from deployments.release_command import ReleaseOptions, _parameters


@pytest.mark.parametrize("folder", ["/nvme/models/", "~/models", "nvme/models", "~/.cache/pressrun/models"])
@pytest.mark.parametrize("tenant", ["", "acme"])
def test_what_is_preloaded_into_a_folder_is_what_runs_and_releases_look_for(folder: str, tenant: str) -> None:
    given = {"cache_folder": Path(folder), "cache_exclusive": bool(tenant)}
    caching, place = CacheChoice(**given), CachePlace(folder=Path(folder), tenant=tenant)
    job = parameters_of("p.csv", GenerateOptions(model=["m"], output="out", tenant=tenant, caching=caching)).job()
    order = _parameters("m", ReleaseOptions(golden="set", tenant=tenant, **given)).order()
    assert job.models_folder == order.cache_folder == str(place.on_each_host)
    assert place.here.is_absolute()
