"""Several models in one job, up to its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pressrun import layout
from pressrun.batch_sizes import BatchSizes
from pressrun.draft import draft_run
from pressrun.errors import InvalidJob, InvalidModel
from pressrun.job import Job
from pressrun.job_models import read_models, split_models
from pressrun.location import Location
from pressrun.model_parts import parts_of
from pressrun.plan import cut_model_shards, model_slices
from pressrun.run import Run, open_run
from tests.pressrun.models.small_model import UNET, write_model

ROWS = [{"prompt": f"picture {number}", "model": ("ink", "photo", None)[number % 3]} for number in range(12)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give three models: "base", "ink" with other weights, "photo" for larger pictures."""
    root = tmp_path_factory.mktemp("models")
    folders = {name: write_model(root / name) for name in ("base", "ink", "photo")}
    (folders["ink"] / "tokenizer" / "merges.txt").write_text("b a")
    (folders["photo"] / "unet" / "config.json").write_text(json.dumps(UNET | {"sample_size": 96}))
    return folders


def job(folders: dict[str, Path], out: Path, prompts: Any = ROWS, main: str = "base", *named: str) -> Job:
    models = {name: Location(str(folders[name])) for name in named or ("ink", "photo")}
    return Job(prompts, Location(str(folders[main])), Location(str(out)), None, models=models)


@pytest.fixture
def run(folders: dict[str, Path], tmp_path: Path) -> Any:
    run = open_run(job(folders, tmp_path / "out"), "run-1")
    yield run
    run.close()


def test_a_plan_goes_through_one_model_after_the_other_in_the_order_of_the_file(run: Run) -> None:
    rows = [(row["model"], row["row"], row["width_px"]) for row in run.plan.todo.to_pylist()]
    assert rows == [
        *(("base", row, 512) for row in (3, 6, 9, 12)),
        *(("ink", row, 512) for row in (1, 4, 7, 10)),
        *(("photo", row, 768) for row in (2, 5, 8, 11)),
    ]


def test_no_shard_has_pictures_of_two_models(run: Run) -> None:
    shards = list(cut_model_shards(run.plan.todo, 3, lambda _: BatchSizes({(512, 512): 1, (768, 768): 3})))
    assert [(shard.number, shard.model, shard.start, shard.stop) for shard in shards] == [
        (0, "base", 0, 3),
        (1, "base", 3, 4),
        (2, "ink", 4, 7),
        (3, "ink", 7, 8),
        (4, "photo", 8, 11),
        (5, "photo", 11, 12),
    ]


def test_a_runs_parts_are_its_models_with_their_rows(run: Run, folders: dict[str, Path]) -> None:
    parts = parts_of(run)
    assert {name: part.plan.todo.column("row").to_pylist() for name, part in parts.items()} == {
        "base": [3, 6, 9, 12],
        "ink": [1, 4, 7, 10],
        "photo": [2, 5, 8, 11],
    }
    assert {name: str(part.job.model) for name, part in parts.items()} == {n: str(p) for n, p in folders.items()}
    assert all(part.ledger is run.ledger for part in parts.values())


def test_a_runs_record_names_every_model_with_place_and_revision(run: Run, folders: dict[str, Path]) -> None:
    record = json.loads(run.store.read(layout.run("run-1", "job.json")))
    assert [(model["name"], model["location"]) for model in record["models"]] == [
        (name, str(folders[name])) for name in ("base", "ink", "photo")
    ]
    assert len({model["revision"] for model in record["models"]}) == 3


def test_ids_are_those_of_jobs_with_one_model(run: Run, folders: dict[str, Path], tmp_path: Path) -> None:
    for name in folders:
        prompts = [row["prompt"] for row in ROWS if (row["model"] or "base") == name]
        alone = draft_run(job(folders, tmp_path / "out", prompts, name, name)).requests
        assert set(alone.column("image_id").to_pylist()) == set(
            parts_of(run)[name].plan.todo.column("image_id").to_pylist()
        )


def test_a_model_without_a_row_has_no_part(folders: dict[str, Path], tmp_path: Path) -> None:
    run = open_run(job(folders, tmp_path / "out", [{"prompt": "a", "model": "photo"}]), "run-1")
    assert list(parts_of(run)) == ["photo"]
    assert [part.model for part in model_slices(run.plan.todo)] == ["photo"]
    run.close()


def test_the_main_model_has_the_name_that_the_job_gives_to_its_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    found = read_models(job(folders, tmp_path, ROWS, "ink", "photo", "ink"))
    assert [(name, model.facts.name) for name, model in found.items()] == [("ink", "ink"), ("photo", "photo")]


def test_a_name_that_means_two_models_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    twice = Job(ROWS, Location(str(folders["base"])), Location(str(tmp_path)), None,
                models={"base": Location(str(folders["ink"]))})  # fmt: skip
    with pytest.raises(InvalidJob, match=r"'base' means two models: .*ink, .* main model .*base.*another name"):
        read_models(twice)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "x" * 65])
def test_a_name_that_no_one_could_type_is_refused(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidJob, match="is no name for a model; write 1 to 64"):
        read_models(Job(ROWS, Location(str(folders["base"])), Location(str(tmp_path)), None,
                        models={name: Location("x")}))  # fmt: skip


def test_a_model_that_is_not_there_is_refused_though_no_row_names_it(folders: dict[str, Path], tmp_path: Path) -> None:
    missing = folders | {"ink": tmp_path / "nowhere"}
    with pytest.raises(InvalidModel, match="nowhere"):
        draft_run(job(missing, tmp_path / "out", ["a"]))


@pytest.mark.parametrize(
    ("given", "main", "named"),
    [
        (["models/shapes"], "models/shapes", {}),
        (["ink=a/b", "photo=s3://x/y=z"], "ink", {"ink": "a/b", "photo": "s3://x/y=z"}),
        (["ink=a", "base"], "base", {"ink": "a"}),
        (["s3://bucket/run=5", "./run=5"], None, {}),
    ],
)
def test_models_are_told_from_names_on_the_command_line(given: list[str], main: str | None, named: Any) -> None:
    if main is None:
        with pytest.raises(InvalidJob, match="2 locations without a name"):
            split_models(given)
    else:
        assert split_models(given) == (main, named)


@pytest.mark.parametrize(("given", "said"), [(["a=x", "a=y"], "name 'a' twice"), (["a="], "names no folder")])
def test_names_given_twice_or_without_a_folder_are_refused(given: list[str], said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        split_models(given)
