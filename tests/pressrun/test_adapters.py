"""Adapters in a job: whose content decides which picture is meant."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pressrun import layout
from pressrun.draft import draft_run
from pressrun.engine_options import EngineOptions
from pressrun.errors import InvalidJob, InvalidModel, InvalidPrompts
from pressrun.job import Job
from pressrun.location import Location
from pressrun.request import RequestDefaults
from pressrun.run import open_run
from tests import runs
from tests.adapters import write_adapter

PROMPTS: list[Mapping[str, object]] = [
    {"prompt": "a red star"},
    {"prompt": "a red star", "adapters": "ink"},
    {"prompt": "a red star", "adapters": "ink:0.5,wash"},
]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    adapters = {
        name: Location(str(write_adapter(tmp_path / f"{name}.safetensors", runs.MODEL, seed=seed)))
        for seed, name in enumerate(("ink", "wash"))
    }
    return Job(PROMPTS, Location(str(runs.MODEL)), Location(str(tmp_path / "out")), None, adapters=adapters)


def ids(job: Job) -> list[str]:
    found: list[str] = draft_run(job).requests.column("image_id").to_pylist()
    return found


def without_adapters(job: Job) -> Job:
    return replace(job, adapters={}, prompts=[row | {"adapters": ""} for row in PROMPTS])


def test_pictures_without_adapters_are_the_same_in_a_job_that_has_some(job: Job) -> None:
    assert ids(job)[0] == ids(without_adapters(job))[0]
    assert len({*ids(job)}) == 3


def test_another_file_under_the_same_name_makes_other_pictures_of_those_that_use_it(job: Job, tmp_path: Path) -> None:
    before = ids(job)
    write_adapter(tmp_path / "wash.safetensors", runs.MODEL, seed=7)
    after = ids(job)
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_the_same_file_elsewhere_makes_the_same_pictures(job: Job, tmp_path: Path) -> None:
    moved = shutil.copy(tmp_path / "ink.safetensors", tmp_path / "moved.safetensors")
    assert ids(replace(job, adapters={**job.adapters, "ink": Location(str(moved))})) == ids(job)


def test_a_run_records_where_its_adapters_were_and_what_they_hold(job: Job) -> None:
    run = open_run(job, "run-1")
    run.close()
    record: dict[str, Any] = json.loads(run.store.read(layout.run("run-1", "job.json")))
    assert set(record["adapters"]) == {"ink", "wash"}
    for adapter in run.adapters[run.facts.name]:
        place = {"location": job.adapters[adapter.name].url, "revision": adapter.revision}
        assert record["adapters"][adapter.name] == place


def test_default_adapters_are_those_of_rows_that_name_none(job: Job) -> None:
    rows = [*PROMPTS, {"prompt": "a red star", "adapters": "none"}]
    drafted = draft_run(replace(job, prompts=rows, defaults=RequestDefaults(adapters="wash")))
    assert drafted.requests.column("adapters").to_pylist() == ["wash:1.0", "ink:1.0", "ink:0.5,wash:1.0", ""]


def test_what_a_job_says_wrongly_of_its_adapters_is_refused_with_nothing_started(job: Job, tmp_path: Path) -> None:
    refused = [
        (replace(job, adapters={}), InvalidPrompts, r"'ink'.* the job has no adapters"),
        (
            replace(job, defaults=RequestDefaults(adapters="chalk")),
            InvalidPrompts,
            "default .*'chalk'. Valid: ink, wash",
        ),
        (replace(job, adapters={"ink": Location("/nowhere")}), InvalidModel, "Nothing found at /nowhere"),
        (replace(job, options=EngineOptions(compile=True)), InvalidJob, "do not go with the engine option compile"),
    ]
    for wrong, error, reason in refused:
        with pytest.raises(error, match=reason):
            open_run(wrong, "run-1")
    assert not (tmp_path / "out").exists()
