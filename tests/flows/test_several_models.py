"""A job whose rows name their models, as its user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.generate_images import generate_images
from pressrun import layout
from pressrun.draft import draft_run
from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.storage import Store
from pressrun.summary import Outcome
from tests import runs
from tests.pressrun.models.small_model import write_model

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_every_picture_is_its_models_and_a_rerun_or_a_job_of_one_of_them_finds_nothing_to_do(tmp_path: Path) -> None:
    ink = write_model(tmp_path / "ink-v3")
    out = tmp_path / "out"
    prompts = [
        {"prompt": f"p{number}", "model": ("ink", None)[number % 2], "width": 64, "height": 64} for number in range(6)
    ]
    job = runs.job(out, prompts, models={"ink": str(ink)}, workers=1)
    first = generate_images(job)
    assert (first.outcome, first.done) == (Outcome.complete, 6)
    revisions = {
        "ink": read_model(Location(str(ink))).revision,
        "shapes": read_model(Location(str(runs.MODEL))).revision,
    }
    made = runs.rows(out)
    assert {row["row"]: (row["model_name"], row["model_revision"]) for row in made.values()} == {
        number + 1: (name, revisions[name]) for number, name in enumerate(["ink", "shapes"] * 3)
    }
    assert {row["extra"] for row in made.values()} == {"{}"}
    assert not runs.flaws(out)
    report = json.loads(Store(Location(str(out))).read(layout.run(first.run_id, "report.json")))
    assert report["model_name"] == "shapes, ink"
    assert report["settings"]["model ink"] == str(ink)
    assert (generate_images(job).held, runs.rows(out).keys()) == (6, made.keys())
    alone = [row | {"model": None} for row in prompts if row["model"] == "ink"]
    assert draft_run(runs.job(out, alone, model=str(ink)).job()).plan().held == 3
