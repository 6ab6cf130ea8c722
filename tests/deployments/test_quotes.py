"""What the command line says of time and money, before and instead of drawing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pressrun.draft import picture_revision
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.profile import Profile, Timing, remember_profile
from pressrun.storage import Store
from tests import runs


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give 100 prompts whose speed this machine remembers: a minute a picture, in batches of 2."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    revision = picture_revision(read_model(Location(str(runs.MODEL))), "null")
    profile = Profile(revision, "auto", 64, 64, 20, (Timing(2, 60.0),), 2, "a slow machine")
    remember_profile([Store(Location(str(tmp_path / "home" / ".cache" / "pressrun")))], profile)
    return runs.prompt_file(tmp_path, runs.prompts(100))


def test_plan_quotes_every_worker_count_from_what_is_remembered(said: Any, remembered: Path, tmp_path: Path) -> None:
    options = runs.quick_options(tmp_path / "out", workers=3)
    code, told, _ = said("plan", remembered, *options, "--price", 6, "--json")
    record = json.loads(told)
    assert code == 0
    assert [(offer["workers"], offer["wall_s"], offer["cost"]) for offer in record["quote"]] == [
        (1, 6000.0, pytest.approx(10.0)),
        (2, 3000.0, pytest.approx(10.0)),
        (3, 2040.0, pytest.approx(10.2)),  # 50 batches are no multiple of 3
    ]
    assert (record["workers"], record["wall_seconds"], record["cost"]) == (3, 2040.0, 10.2)
    assert record["measured_on"] == "a slow machine"
    shown = said("plan", remembered, *options, "--price", 6)[1]
    assert re.search(r"3 +34 min +1 h 42 min +10\.20 +chosen", shown)


@pytest.mark.parametrize(
    ("terms", "explanation"),
    [
        (["--deadline", "30m"], "100 images take 34 min on 3 workers as asked for"),
        (["--budget", "9", "--price", "6"], "The budget of 9.00 cannot be kept: 100 images cost 10.20"),
    ],
)
def test_plan_says_what_generate_would_refuse(
    terms: list[str], explanation: str, said: Any, remembered: Path, tmp_path: Path
) -> None:
    code, told, err = said("plan", remembered, *runs.quick_options(tmp_path / "out", workers=3), *terms)
    assert code == 2
    assert explanation in err
    assert "to render" in told
    assert "34 min" in told


def test_generate_refuses_a_deadline_that_it_cannot_meet_and_draws_nothing(
    said: Any, prefect_api: str, tmp_path: Path
) -> None:
    file, out = runs.prompt_file(tmp_path, runs.prompts(100)), tmp_path / "out"
    options = runs.quick_options(out, engine="tests.engines:hesitant")
    code, told, err = said("generate", file, *options, "--deadline", "20s")
    assert (code, told) == (2, "")
    assert re.search(r"quote for 100 images, .+ of drawing: refused", err)
    assert "error: The deadline of 20 s cannot be met" in err
    assert "✓ generate batches" not in err
    assert not (out / "images").exists()
