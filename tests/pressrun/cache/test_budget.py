"""A model that is larger than the cache's budget is refused before anything is opened for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pressrun.cache.budget import check_budget, read_budget
from pressrun.cache.options import UNLIMITED_BYTES, CacheOptions
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.diffusers_folder import ModelFile

PLACE = Location("s3://studio/ink.safetensors")
LARGE = Adapter("ink", PLACE, "0" * 32, 7, (ModelFile("ink.safetensors", 6_940_000_000, "etag:1"),))


def test_what_is_larger_is_refused_with_both_numbers_and_the_remedy() -> None:
    with pytest.raises(InvalidModel, match=r"ink \(s3://studio/ink.*\) has 6.94 GB, but .* 5 GB on a host; raise"):
        check_budget(CacheOptions(budget_bytes=5 * 10**9), [(PLACE, LARGE)])


@pytest.mark.parametrize(
    ("options", "place"),
    [
        (CacheOptions(), PLACE),
        (CacheOptions(budget_bytes=read_budget("unlimited")), PLACE),
        (CacheOptions(budget_bytes=read_budget("6.94GB")), PLACE),
        (CacheOptions("mount", {"s3://studio": "/mnt"}, budget_bytes=1), PLACE),
        (CacheOptions(budget_bytes=1), Location(str(Path("/models/ink")))),
    ],
)
def test_what_fits_or_is_used_in_place_is_not_refused(options: CacheOptions, place: Location) -> None:
    check_budget(options, [(place, LARGE)])


def test_no_limit_is_more_than_any_disk() -> None:
    assert read_budget("unlimited") == UNLIMITED_BYTES > 10**18
