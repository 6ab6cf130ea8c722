"""The benchmarks' bucket: right bytes, at the bandwidth it is said to have, and counted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from bench.cache_bound import Fleet
from bench.cache_fleet import PRESSRUN, RIVALS, compare_fleet
from bench.cache_model import write_model
from bench.findings import Findings
from bench.throttled_origin import throttled_origin
from bench.trial import TrialFailed, run_rival
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.models.listing import list_model
from workers.cache.origin import OriginFailed, Patience, open_origin

MB = 1_000_000


def test_readers_share_one_bandwidth_and_every_byte_is_counted(tmp_path: Path) -> None:
    paths = write_model(tmp_path, 1 * MB)
    with throttled_origin(tmp_path, 2 * MB) as origin:
        filesystem = s3fs.S3FileSystem(**origin.options)
        filesystem.ls(origin.url)
        started = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            copies = list(threads.map(lambda _: filesystem.cat(f"{origin.url}/{paths[0]}"), range(2)))
        assert 0.7 < time.monotonic() - started < 10  # twice 0.85 MB at 2 MB/s, less the burst
        assert copies == [(tmp_path / paths[0]).read_bytes()] * 2
        assert origin.served().body_bytes == 2 * len(copies[0])


def test_a_model_for_measuring_reads_as_one_and_comes_in_ranges_past_refusals(tmp_path: Path) -> None:
    paths = write_model(tmp_path, 1 * MB)
    with throttled_origin(tmp_path, 1000 * MB, refused_share=0.2) as served:
        location = Location(served.url, served.options)
        assert read_model(location).weight_bytes == pytest.approx(1 * MB, rel=0.05)
        listing, origin = list_model(location), open_origin(location, patience=Patience(sleep=lambda _: None))
        content = bytearray(listing.size_bytes(paths[0]))
        for start in range(0, len(content), 50_000):
            origin.read(paths[0], start, listing.digest(paths[0]), memoryview(content)[start : start + 50_000])
        assert content == (tmp_path / paths[0]).read_bytes()
        assert served.served().refused > 0
        with pytest.raises(OriginFailed, match="changed"):
            origin.read(paths[0], 0, "etag:another", memoryview(bytearray(9)))


def test_no_system_can_beat_the_bound() -> None:
    fleet = Fleet(8, 512 * MB, 50 * MB)
    assert (fleet.bound_s, fleet.direct_bound_s) == (pytest.approx(10.24), pytest.approx(81.92))
    capped = Fleet(12, 512 * MB, 50 * MB, down_bytes_per_s=4 * MB, up_bytes_per_s=4 * MB)
    assert capped.bound_s == 128.0
    assert Fleet(12, 512 * MB, 4 * MB, up_bytes_per_s=1 * MB).bound_s == 12 * 512 / 16


def test_systems_are_set_side_by_side_on_one_origin(tmp_path: Path) -> None:
    findings = Findings()
    compare_fleet(findings, Fleet(2, 1 * MB, 100 * MB), tmp_path, (PRESSRUN, RIVALS[1]))
    (rows,) = findings._sections.values()
    assert [row["system"] for row in rows] == ["Pressrun", RIVALS[1].name]
    assert [row["wrong files"] for row in rows] == [0, 0]
    # Pressrun reads headers for its facts besides.
    assert rows[1]["origin copies"] == pytest.approx(2.0)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_cannot_get_ready_ends_the_trial_at_once(tmp_path: Path) -> None:
    with pytest.raises(TrialFailed, match="hosts failed to pull"):
        run_rival("pull_obstore", {"hosts": 2, "folder": str(tmp_path), "url": "s3://models/model"}, tmp_path)
