from __future__ import annotations

import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.batch_sizes import BatchSizes
from pressrun.image_ids import ImageIds
from pressrun.plan import count_batches, cut_shards, plan_requests
from pressrun.profile import Profile, Timing
from pressrun.workload import Load, Workload, workload
from tests.pressrun.small_collection import make_requests

PROFILE = Profile("m" * 32, "fp32", 64, 48, 4, (Timing(1, 2.0), Timing(2, 1.2, 0.2), Timing(4, 1.0)), 2, "cpu")
LOADS = st.lists(st.builds(Load, st.integers(1, 40), st.floats(0.01, 50)), min_size=1, max_size=5)


def of(*loads: Load) -> Workload:
    return Workload(sum(load.batches for load in loads), loads)


def done_after_s(work: Workload, workers: int) -> float:
    """Draw every batch, each by the worker that is free first."""
    free_at = [0.0] * workers
    for load in work.loads:
        for _ in range(load.batches):
            heapq.heapreplace(free_at, free_at[0] + load.batch_s)
    return max(free_at)


@pytest.mark.parametrize(
    ("batches", "workers", "wall_s"),
    [(10, 1, 20), (10, 2, 10), (10, 3, 8), (10, 9, 4), (10, 10, 2), (10, 50, 2), (1, 4, 2)],
)
def test_batches_are_whole_so_that_some_workers_idle_at_the_end(batches: int, workers: int, wall_s: float) -> None:
    assert of(Load(batches, 2.0)).wall_s(workers) == wall_s


def test_with_a_worker_for_every_batch_the_longest_decides() -> None:
    assert of(Load(1, 3.0), Load(2, 1.0)).wall_s(3) == 3.0


def test_many_small_loads_do_not_each_cost_a_round() -> None:
    assert of(*[Load(1, 1.0)] * 100).wall_s(10) == pytest.approx(10.9)


@given(LOADS, st.integers(1, 12))
def test_workers_that_never_wait_for_work_are_done_in_time_and_cannot_be_done_much_sooner(
    loads: list[Load], workers: int
) -> None:
    work = of(*loads)
    wall_s = work.wall_s(workers)
    assert done_after_s(work, workers) <= wall_s * (1 + 1e-9)
    longest_s = max(load.batch_s for load in loads)
    assert wall_s <= max(work.drawing_s / workers, longest_s) + longest_s


@given(LOADS, st.integers(1, 60))
def test_one_more_worker_is_never_slower(loads: list[Load], workers: int) -> None:
    assert of(*loads).wall_s(workers + 1) <= of(*loads).wall_s(workers) * (1 + 1e-9)


def test_a_plan_amounts_to_its_buckets_at_their_measured_speed() -> None:
    todo = make_requests("abcdef", width_px=[64] * 5 + [96], height_px=48, steps=[4, 4, 4, 8, 8, 4])
    profiles = {(64, 48): PROFILE, (96, 48): replace(PROFILE, width_px=96, batch_size=4)}
    work = workload(todo, profiles, BatchSizes({(64, 48): 2, (96, 48): 4}))
    assert work is not None
    assert work.images == 6
    # Three in two batches of 2, two of twice the steps in one, one alone in a batch that is padded to 4.
    assert sorted(work.loads, key=lambda load: load.batch_s) == [
        Load(2, pytest.approx(2.4)),
        Load(1, pytest.approx(4.0)),
        Load(1, pytest.approx(4.4)),
    ]
    assert work.drawing_s == pytest.approx(2 * 2.4 + 4.0 + 4.4)


def test_buckets_of_equal_speed_share_their_rounds() -> None:
    todo = make_requests("abcd", width_px=64, height_px=48, steps=4, guidance_scale=[1.0, 2.0, 3.0, 4.0])
    work = workload(todo, {(64, 48): PROFILE}, BatchSizes({(64, 48): 2, (96, 48): 4}))
    assert work is not None
    assert work.loads == (Load(4, pytest.approx(2.4)),)


def test_a_picture_size_of_unknown_speed_leaves_all_unknown() -> None:
    todo = make_requests("ab", width_px=[64, 96], height_px=48)
    assert workload(todo, {(64, 48): PROFILE}, BatchSizes({(64, 48): 2, (96, 48): 4})) is None


@pytest.mark.parametrize("shard_images", [1, 3, 4, 7, 2000])
def test_there_are_as_many_batches_as_all_shards_have(shard_images: int) -> None:
    plan = plan_requests(make_requests("abcdefghijk", width_px=64, height_px=48, steps=4), ImageIds())
    sizes = BatchSizes({(64, 48): 4}, plan.asked)
    work = workload(plan.todo, {(64, 48): PROFILE}, sizes)
    cut = [
        plan.todo.slice(shard.start, shard.stop - shard.start) for shard in cut_shards(plan.todo, shard_images, sizes)
    ]
    assert work is not None
    assert work.batches == sum(count_batches(rows, sizes) for rows in cut)
    assert work.drawing_s == pytest.approx(3 * PROFILE.batch_s(4, 4))
