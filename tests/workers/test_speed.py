from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.clusters import LocalDaskCluster
from pressrun.errors import InvalidJob, StageFailed
from tests import engines, runs
from tests.workers.conftest import OpenedRun
from workers import waiting_room
from workers.fleet import LocalFleet
from workers.model_host import model_host
from workers.printing import renderer_key
from workers.scaling import scale
from workers.speed import sample_of, warm_fleet, warm_up

Opened = Callable[..., OpenedRun]
SHAPE = (64, 64)


@pytest.fixture(autouse=True)
def _fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measurements of other tests are not remembered."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return


def measurements(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("profiles/*.json")]


def test_a_worker_that_another_run_holds_back_is_not_taken_for_a_warm_one(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(3), batch_size=5)
    client = fleet.open()
    waiting, other = sorted(client.nthreads())
    waiting_room.enter(client, "another run", [waiting])
    try:
        assert [warmth.address for warmth in warm_up(client, order, sample_of(run, SHAPE))] == [other]
    finally:
        waiting_room.leave(client, "another run")


def test_a_given_batch_size_is_used_unmeasured(fleet: LocalFleet, opened: Opened, tmp_path: Path) -> None:
    run, order = opened(runs.prompts(3), batch_size=5)
    speed = warm_fleet(run, fleet, order)
    assert speed.batch_sizes.most == {SHAPE: 5}
    assert speed.batch_sizes.asked == {}  # not to be made smaller for a short bucket
    assert run.ledger.profiles == ()
    assert measurements(tmp_path / "out") == []
    assert run.ledger.provenance["engine"] == "null"


@pytest.mark.parametrize(
    "terms", [{"deadline": "1h"}, {"budget": 9, "cluster": LocalDaskCluster(price_per_worker_hour=1)}]
)
def test_a_given_batch_size_is_measured_for_a_quote_and_not_taken_for_the_best_one(
    fleet: LocalFleet, opened: Opened, tmp_path: Path, terms: dict[str, Any]
) -> None:
    run, order = opened(runs.prompts(3), batch_size=2, engine="tests.engines:hesitant", **terms)
    speed = warm_fleet(run, fleet, order)
    assert speed.batch_sizes.most == {SHAPE: 2}
    (profile,) = run.ledger.profiles
    assert engines.HESITANT_IMAGE_S <= profile.image_s(20) < 2 * engines.HESITANT_IMAGE_S
    assert [timing.batch_size for timing in profile.timings] == [2]
    assert profile.image_s(40) < 2 * engines.HESITANT_IMAGE_S  # it takes as long whatever the steps
    assert measurements(tmp_path / "out") == []


def test_a_given_batch_size_that_was_measured_before_is_not_measured_again(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(3), batch_size=None, engine="tests.engines:small")
    warm_fleet(run, fleet, order)
    run.close()
    (found,) = measurements(tmp_path / "out")
    run, order = opened(runs.prompts(3), batch_size=1, engine="tests.engines:small")
    warm_fleet(run, fleet, order)
    (profile,) = run.ledger.profiles
    assert profile.batch_size == 1
    assert [timing.image_s for timing in profile.timings] == [timing["image_s"] for timing in found["timings"]]
    assert measurements(tmp_path / "out") == [found]


def test_how_many_are_ready_and_how_long_that_took_is_noted(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(runs.prompts(3))
    warm_fleet(run, fleet, order)
    assert run.ledger.ready_workers == 2
    assert run.ledger.start_s > 0


def test_a_measured_batch_size_is_remembered_in_the_collection_and_on_the_machine(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    run, order = opened(runs.prompts(3), batch_size=None, engine="tests.engines:small")
    speed = warm_fleet(run, fleet, order)
    (found,) = measurements(tmp_path / "out")
    assert measurements(tmp_path / "home" / ".cache" / "pressrun") == [found]
    assert [timing["batch_size"] for timing in found["timings"]] == [1, 2]  # memory ends the ladder there
    assert speed.batch_sizes.most == {SHAPE: found["batch_size"]}
    assert run.ledger.profiles[0].image_s(20) > 0
    assert [profile.batch_size for profile in run.ledger.profiles] == [found["batch_size"]]
    assert engines.drawn(tmp_path / "out") == []


def test_a_remembered_batch_size_is_not_measured_again(fleet: LocalFleet, opened: Opened, tmp_path: Path) -> None:
    run, order = opened(runs.prompts(3), batch_size=None)
    warm_fleet(run, fleet, order)
    (file,) = (tmp_path / "out" / "profiles").iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"batch_size": 7}))
    assert warm_fleet(run, fleet, order).batch_sizes.most == {SHAPE: 7}


@pytest.mark.parametrize("prompt", ["boom", "kill always"])
def test_a_harmful_prompt_is_not_the_one_to_warm_up_with(fleet: LocalFleet, opened: Opened, prompt: str) -> None:
    run, order = opened([prompt, "fine"], batch_size=None, engine="tests.engines:faulty")
    assert warm_fleet(run, fleet, order).batch_sizes.most.keys() == {SHAPE}


def test_a_rare_size_that_cannot_be_drawn_does_not_stop_the_others(fleet: LocalFleet, opened: Opened) -> None:
    prompts = [*runs.prompts(3), {"prompt": "huge", "width": 256, "height": 256}]
    run, order = opened(prompts, batch_size=None, engine="tests.engines:small")
    speed = warm_fleet(run, fleet, order)
    assert speed.batch_sizes.most[256, 256] == 1
    assert speed.batch_sizes.most[SHAPE] in (1, 2)
    assert [profile.shape for profile in run.ledger.profiles] == [SHAPE]


def test_a_common_size_that_cannot_be_drawn_fails_the_stage_with_size_and_reason(
    fleet: LocalFleet, opened: Opened
) -> None:
    huge = {"width": 256, "height": 256}
    run, order = opened(runs.prompts(3), engine="tests.engines:small", defaults=huge)
    with pytest.raises(StageFailed, match=r"shapes cannot draw one picture of 256 x 256 px.*OutOfMemory"):
        warm_fleet(run, fleet, order)


@pytest.mark.parametrize("engine", ["nonsense", "tests.engines:missing", "no_such_module:engine"])
def test_an_engine_that_a_worker_does_not_have_is_named(fleet: LocalFleet, opened: Opened, engine: str) -> None:
    run, order = opened(runs.prompts(1))
    with pytest.raises(InvalidJob, match=engine):
        warm_fleet(run, fleet, replace(order, engine=engine))


def test_a_rare_size_goes_by_the_common_one_and_only_the_collection_remembers_it(
    fleet: LocalFleet, opened: Opened, tmp_path: Path
) -> None:
    prompts = [*runs.prompts(12), {"prompt": "wide", "width": 128}]
    run, order = opened(prompts, batch_size=None, engine="tests.engines:hesitant")
    warm_fleet(run, fleet, order)
    common, rare = sorted(run.ledger.profiles, key=lambda profile: profile.width_px)
    assert rare.image_s(20) == pytest.approx(2 * common.image_s(20), rel=0.05)
    assert [one["width_px"] for one in measurements(tmp_path / "home" / ".cache" / "pressrun")] == [64]
    assert sorted(one["width_px"] for one in measurements(tmp_path / "out")) == [64, 128]
    warm_fleet(run, fleet, order)  # an estimate that is recalled does not pass for a measurement
    assert [one["width_px"] for one in measurements(tmp_path / "home" / ".cache" / "pressrun")] == [64]


def test_every_worker_is_warm_before_the_drawing_begins(opened: Opened) -> None:
    fleet = LocalFleet(2)
    try:
        fleet.open()
        run, order = opened(runs.prompts(4), batch_size=None)
        speed = warm_fleet(run, fleet, order)
        assert scale(run, fleet, order, speed, None) == 2
        warm = fleet.open().run(loaded_models)
        assert list(warm.values()) == [[renderer_key(order)]] * 2
    finally:
        fleet.close()


def loaded_models() -> list[str]:
    return model_host().keys()
