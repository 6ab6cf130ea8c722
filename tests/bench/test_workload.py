"""The benchmarks' prompt files: the same for everybody, and what they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.workload import Mix, draw_requests, plain, realistic, write_requests
from pressrun.image_ids import ImageIds
from pressrun.location import Location
from pressrun.plan import name_images, plan_requests
from pressrun.prompts.file import read_requests
from pressrun.prompts.rules import ModelLimits
from pressrun.request import RequestDefaults

_LIMITS = ModelLimits(width_px=64, height_px=64, size_multiple_px=8)


def planned(mix: Mix, folder: Path):

    prompts = write_requests(mix, folder / "prompts.parquet")
    requests = read_requests(Location(str(prompts)), RequestDefaults(), _LIMITS)
    return plan_requests(name_images(requests, "revision"), ImageIds())


def test_repeats_are_exactly_the_pictures_that_a_plan_collapses(tmp_path):
    plan = planned(realistic(400), tmp_path)
    assert plan.requests.num_rows == 400
    assert plan.duplicates == 112


def test_a_plain_list_leaves_nothing_to_collapse(tmp_path):
    assert planned(plain(400), tmp_path).duplicates == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_one_seed_draws_one_list(seed):
    assert draw_requests(realistic(50), seed).equals(draw_requests(realistic(50), seed))


def test_sizes_come_in_their_shares():
    mix = Mix(1000, sizes=(((64, 64), 0.7), ((96, 64), 0.3)))
    assert draw_requests(mix).column("width").to_pylist().count(96) == pytest.approx(300, abs=3)
