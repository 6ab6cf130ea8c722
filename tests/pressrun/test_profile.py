from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun import layout
from pressrun.job import Job
from pressrun.location import Location
from pressrun.profile import (
    Profile,
    Timing,
    choose_batch_size,
    fixed_s,
    ladder,
    profile_stores,
    recall_profile,
    recall_profiles,
    remember_profile,
    timing_at,
)
from pressrun.storage import Store

TIMINGS = (Timing(1, 2.0), Timing(2, 1.2), Timing(4, 1.18))
PROFILE = Profile("m" * 32, "fp32", 64, 48, 20, TIMINGS, 2, "cpu, 2 threads")


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store(Location(str(tmp_path / "out"))), Store(Location(str(tmp_path / "cache")))


def recalled(stores: tuple[Store, ...], profile: Profile) -> Profile | None:
    return recall_profile(stores, profile.model_revision, profile.dtype, profile.shape, profile.hardware)


def timings_of(*seconds: float) -> list[Timing]:
    return [Timing(size, image_s) for size, image_s in zip((1, 2, 4, 8, 16, 32), seconds, strict=False)]


MANY = 1_000_000


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0,), 1),
        ((1.0, 0.5, 0.25, 0.125, 0.06, 0.03), 32),
        ((1.0, 0.6, 0.59, 0.58), 4),
        ((1.0, 0.6, 0.598, 0.597), 2),
        ((1.0, 1.1, 1.2), 1),
        ((1.0, 0.96, 0.5), 4),  # a step that did not pay by itself is no end
        ((1.0, 1.0, 1.0), 1),
    ],
)
def test_of_many_images_the_batch_size_is_the_smallest_as_good_as_the_fastest(
    seconds: tuple[float, ...], chosen: int
) -> None:
    assert choose_batch_size(timings_of(*seconds), MANY, 1) == chosen


@pytest.mark.parametrize(("images", "workers", "chosen"), [(5, 1, 5), (64, 2, 16), (40, 2, 10), (40, 1, 8), (7, 1, 7)])
def test_few_images_get_batches_that_come_out_even(images: int, workers: int, chosen: int) -> None:
    timings = timings_of(1.0, 0.95, 0.91, 0.89, 0.88, 0.87)
    assert choose_batch_size(timings, images, workers) == chosen


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=6), st.integers(1, 10_000), st.integers(1, 8))
def test_no_size_is_done_much_sooner_than_the_chosen_one(seconds: list[float], images: int, workers: int) -> None:
    def wall_s(size: int) -> float:
        rounds = -(-images // size) // -workers
        return -rounds * size * timing_at(timings, size).image_s

    timings = timings_of(*seconds)
    size = choose_batch_size(timings, images, workers)
    assert all(wall_s(size) <= 1.021 * wall_s(other) for other in range(1, timings[-1].batch_size + 1))


def test_speed_goes_with_the_number_of_steps() -> None:
    assert PROFILE.image_s(20) == 1.2
    assert PROFILE.image_s(50) == pytest.approx(3.0)


def test_what_more_steps_do_not_add_to_is_paid_once() -> None:
    profile = replace(PROFILE, timings=(Timing(2, 1.2, 0.2),))
    assert profile.image_s(20) == pytest.approx(1.2)
    assert profile.image_s(40) == pytest.approx(2.2)
    assert replace(PROFILE, timings=(Timing(2, 1.2, 1.2),)).image_s(1000) == pytest.approx(1.2)


def test_the_fixed_part_is_what_two_numbers_of_steps_have_in_common() -> None:
    assert fixed_s((2, 0.7), (4, 1.2)) == pytest.approx(0.2)
    assert fixed_s((2, 0.5), (4, 1.2)) == 0.0


@given(st.integers(1, 50), st.floats(1e-3, 100), st.integers(1, 50), st.floats(1e-3, 100))
def test_the_fixed_part_is_never_more_than_either_took_nor_less_than_nothing(
    few: int, few_s: float, more: int, many_s: float
) -> None:
    assert 0.0 <= fixed_s((few, few_s), (few + more, many_s)) <= min(few_s, many_s)


def test_another_size_can_be_taken_within_what_was_measured() -> None:
    assert PROFILE.at(4) == replace(PROFILE, batch_size=4)
    assert PROFILE.at(3) == replace(PROFILE, batch_size=3)
    assert PROFILE.at(5) is None


@pytest.mark.parametrize(("longest_s", "chosen"), [(None, 4), (10.0, 4), (4.0, 3), (2.5, 2), (2.2, 1), (0.1, 1)])
def test_batches_take_no_longer_than_they_may_as_far_as_any_size_allows(longest_s: float | None, chosen: int) -> None:
    assert replace(PROFILE, batch_size=4).within(longest_s).batch_size == chosen


def test_between_two_measured_sizes_a_batch_takes_what_lies_between() -> None:
    assert PROFILE.batch_s(2, 20) == pytest.approx(2.4)
    assert PROFILE.batch_s(3, 20) == pytest.approx((2.4 + 4.72) / 2)
    assert PROFILE.batch_s(4, 40) == pytest.approx(2 * 4.72)


def test_a_rarer_picture_size_goes_by_its_pixels() -> None:
    half = PROFILE.scaled((32, 48))
    assert half is not None
    assert half.shape == (32, 48)
    assert [timing.batch_size for timing in half.timings] == [2, 4, 8]
    assert half.batch_s(8, 20) == pytest.approx(4.72)  # as many pixels as the largest batch that was measured
    double = PROFILE.scaled((128, 48))
    assert double is not None
    assert [timing.batch_size for timing in double.timings] == [1, 2]
    assert double.batch_s(2, 20) == pytest.approx(4.72)
    assert PROFILE.scaled((64 * 5, 48)) is None  # one picture is more than was ever drawn at once


def test_a_profile_is_outgrown_by_a_job_that_wants_larger_batches_timed() -> None:
    few = replace(PROFILE, images=3, timings=TIMINGS[:2])
    assert [few.is_outgrown(images) for images in (1, 3, 4, 1000)] == [False, False, True, True]
    many = replace(PROFILE, images=1000, timings=TIMINGS[:2])  # memory or patience ended there
    assert not many.is_outgrown(10**7)
    estimate = replace(PROFILE, images=50, is_estimate=True)
    assert [estimate.is_outgrown(images) for images in (50, 51)] == [False, True]


@pytest.mark.parametrize(
    ("images", "sizes"),
    [(0, (1,)), (1, (1,)), (3, (1, 3)), (4, (1, 4)), (20, (1, 4, 16, 20)), (10**7, (1, 4, 16, 32))],
)
def test_no_size_is_timed_that_no_worker_would_fill(images: int, sizes: tuple[int, ...]) -> None:
    assert ladder(images) == sizes


def test_what_was_measured_is_remembered_for_just_that(stores: tuple[Store, Store]) -> None:
    remember_profile(stores, PROFILE)
    assert recalled(stores, PROFILE) == PROFILE
    for other in (
        replace(PROFILE, model_revision="n" * 32),
        replace(PROFILE, dtype="bf16"),
        replace(PROFILE, width_px=48, height_px=64),
        replace(PROFILE, hardware="cpu, 4 threads"),
    ):
        assert recalled(stores, other) is None


def test_the_collections_measurement_comes_before_the_hosts(stores: tuple[Store, Store]) -> None:
    remember_profile(stores[1:], replace(PROFILE, batch_size=4))
    assert recalled(stores, PROFILE) == replace(PROFILE, batch_size=4)
    remember_profile(stores[:1], PROFILE)
    assert recalled(stores, PROFILE) == PROFILE
    assert recall_profiles(stores, PROFILE.model_revision, PROFILE.dtype) == {(64, 48): PROFILE}


def test_a_forecast_takes_a_measurement_on_any_hardware(stores: tuple[Store, Store]) -> None:
    wide = replace(PROFILE, width_px=96, hardware="gpu")
    for profile in (PROFILE, wide, replace(PROFILE, model_revision="n" * 32, width_px=8)):
        remember_profile(stores, profile)
    assert recall_profiles(stores, PROFILE.model_revision, "fp32") == {(64, 48): PROFILE, (96, 48): wide}
    assert recall_profiles(stores, PROFILE.model_revision, "bf16") == {}


@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"null", b"7", b'"x"', b"[]", b"{}", b'{"timings": 3}', b'{"timings": [{"a": 1}]}']
)
def test_a_record_that_cannot_be_read_counts_as_none(stores: tuple[Store, Store], record: bytes) -> None:
    remember_profile(stores, PROFILE)
    (name,) = stores[0].names(layout.PROFILES)
    stores[0].write(name, record)
    assert recalled(stores[:1], PROFILE) is None
    assert recalled(stores, PROFILE) == PROFILE
    assert recall_profiles(stores, PROFILE.model_revision, "fp32") == {(64, 48): PROFILE}


def test_a_record_of_a_later_version_counts_as_none(stores: tuple[Store, Store]) -> None:
    remember_profile(stores, PROFILE)
    (name,) = stores[0].names(layout.PROFILES)
    stores[0].write(name, json.dumps(json.loads(stores[0].read(name)) | {"later": 1}).encode())
    assert recalled(stores[:1], PROFILE) is None


def test_measurements_are_kept_in_the_collection_and_in_the_hosts_cache(tmp_path: Path) -> None:
    out, cache = Location(str(tmp_path / "out")), str(tmp_path / "cache")
    job = Job(["a"], Location("model"), out, None, cache_folder=cache)
    remember_profile(profile_stores(job), PROFILE)
    assert [len(Store(place).names(layout.PROFILES)) for place in (out, Location(cache))] == [1, 1]
