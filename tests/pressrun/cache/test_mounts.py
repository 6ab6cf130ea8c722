from __future__ import annotations

from pathlib import Path

import pytest

from pressrun.cache.mounts import check_mounts, mounted, read_mounts
from pressrun.cache.options import CacheOptions
from pressrun.errors import InvalidJob
from pressrun.location import Location

MOUNTS = {"s3://studio": "/mnt/studio", "s3://studio/models/": "/fast", "s3://key:hidden@other/x": "/mnt/other"}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://studio/inks/ink.safetensors", "/mnt/studio/inks/ink.safetensors"),
        ("s3://studio/models/sdxl/", "/fast/sdxl"),
        ("s3://studio/models", "/fast"),
        ("s3://studio/models-old/sdxl", "/mnt/studio/models-old/sdxl"),
        ("s3://someone:secret@other/x/clip", "/mnt/other/clip"),
        ("s3://studios/models", None),
        ("gs://studio/models", None),
    ],
)
def test_a_place_is_in_the_folder_of_the_longest_url_above_it(url: str, place: str | None) -> None:
    assert mounted(Location(url), MOUNTS) == (None if place is None else Path(place))


def test_a_remote_place_without_a_mount_is_refused_by_name_and_a_local_one_is_not() -> None:
    options = CacheOptions("mount", MOUNTS)
    check_mounts(options, [Location("/models/sdxl"), Location("s3://studio/models/sdxl")])
    with pytest.raises(InvalidJob, match=r"s3://studios/sdxl lies below none .*s3://studio, .*URL=FOLDER") as caught:
        check_mounts(options, [Location("s3://studios/sdxl")])
    assert "hidden" not in str(caught.value)
    with pytest.raises(InvalidJob, match="there are none"):
        check_mounts(CacheOptions("mount"), [Location("s3://studio/sdxl")])


def test_mounts_that_nobody_would_use_and_folders_that_depend_on_the_process_are_refused() -> None:
    with pytest.raises(InvalidJob, match="3 mounts are given, but models come by the cache 'peer'"):
        check_mounts(CacheOptions("peer", MOUNTS), [])
    with pytest.raises(InvalidJob, match=r"s3://studio=mnt is no absolute folder; give it as /mnt/models"):
        check_mounts(CacheOptions("mount", {"s3://studio": "mnt"}), [])


def test_mounts_are_read_from_pairs() -> None:
    assert read_mounts(["s3://studio=/mnt/studio", "s3://a/b=c=/d"]) == {
        "s3://studio": "/mnt/studio",
        "s3://a/b=c": "/d",
    }


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        (["s3://studio"], "--mount s3://studio names no folder"),
        (["=/mnt"], "names no folder"),
        (["s3://a=/b", "s3://a=/c"], r"--mount s3://a is given twice \(/b and /c\)"),
    ],
)
def test_a_mount_that_is_no_pair_or_comes_twice_is_refused(pairs: list[str], problem: str) -> None:
    with pytest.raises(InvalidJob, match=problem):
        read_mounts(pairs)
