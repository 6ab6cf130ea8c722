"""Options that change pixels are accepted only within the budget, before anything is generated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from blocks.engine import DiffusersEngine
from pressrun.errors import InvalidJob, QualityRefused
from tests.workers.conftest import OpenedRun
from workers.fleet import LocalFleet
from workers.quality_gate import accept_options

pytestmark = pytest.mark.slow
Opened = Callable[..., OpenedRun]
PROMPTS = ["a red circle", "a blue star", "a green ring"]
QUICK: dict[str, Any] = {"engine": "diffusers", "defaults": {"steps": 2}, "embedder": "carried"}


@pytest.fixture(scope="module")
def fleet() -> Iterator[LocalFleet]:
    """Give one worker, since options are tried on one."""
    fleet = LocalFleet(1)
    fleet.open()
    yield fleet
    fleet.close()


def test_the_plain_engine_needs_no_trial(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(PROMPTS, **QUICK)
    assert accept_options(run, fleet, order) == order
    assert run.ledger.trials == ()


def test_options_that_leave_pictures_alone_are_accepted_with_their_effect(fleet: LocalFleet, opened: Opened) -> None:
    run, order = opened(PROMPTS, **QUICK, engine_options=DiffusersEngine(vae_slicing=True))
    assert accept_options(run, fleet, order) == order
    (trial,) = run.ledger.trials
    assert trial.psnr_db > 50
    assert trial.ssim > 0.99
    assert trial.similarity == pytest.approx(1, abs=1e-3)
    assert trial.speedup > 0


def test_each_of_several_options_is_tried_alone_too(fleet: LocalFleet, opened: Opened) -> None:
    lenient = DiffusersEngine(vae_slicing=True, channels_last=True, least_psnr_db=0, least_similarity=0, least_ssim=-1)
    run, order = opened(PROMPTS, **QUICK, precision="bf16", engine_options=lenient)
    accept_options(run, fleet, order)
    assert [trial.name for trial in run.ledger.trials] == [
        "bf16, channels last, vae slicing",
        "channels last",
        "vae slicing",
        "bf16",
    ]
    bf16 = run.ledger.trials[-1]
    assert 0 < bf16.ssim < 1
    assert 5 < bf16.psnr_db < math.inf  # lowest bits move, and the pictures are still pictures


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"least_psnr_db": 99}, r"PSNR \d+\.\d dB, at least 99\.0 dB wanted"),
        ({"least_psnr_db": 0, "least_ssim": 1}, r": SSIM 0\.\d+, at least 1\.000 wanted"),
    ],
    ids=str,
)
def test_over_the_budget_a_run_is_refused_with_both_numbers(
    fleet: LocalFleet, opened: Opened, budget: dict[str, float], reason: str
) -> None:
    run, order = opened(PROMPTS, **QUICK, precision="bf16", engine_options=DiffusersEngine(**budget))
    with pytest.raises(QualityRefused, match=f"{reason}.*over 3 sample pictures"):
        accept_options(run, fleet, order)


def test_over_the_budget_a_run_that_may_goes_on_with_the_plain_engine(fleet: LocalFleet, opened: Opened) -> None:
    strict = DiffusersEngine(vae_slicing=True, least_psnr_db=99, falls_back=True)
    run, order = opened(PROMPTS, **QUICK, precision="bf16", engine_options=strict)
    accepted = accept_options(run, fleet, order)
    assert (accepted.dtype, accepted.options.chosen) == ("auto", ())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"step_cache": "first-block"}, "works on transformers; UNet2DConditionModel has none"),
        ({"offload": "model"}, "this is a CPU"),
        ({"attention": "flash"}, "flash_attn"),
        pytest.param(
            {"quantization": "int8"},
            "torchao.*extra 'quantization'",
            marks=pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed"),
        ),
    ],
    ids=str,
)
def test_what_this_machine_cannot_do_is_refused_by_name(
    fleet: LocalFleet, opened: Opened, options: dict[str, Any], reason: str
) -> None:
    run, order = opened(PROMPTS, **QUICK, engine_options=DiffusersEngine(**options))
    with pytest.raises(InvalidJob, match=reason):
        accept_options(run, fleet, order)
