from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from blocks.clusters import ExistingDaskCluster
from flows.generate_images import generate_images
from pressrun import failures
from pressrun.errors import CollectionBusy, InvalidJob, InvalidPrompts
from pressrun.location import Location
from pressrun.storage import Store
from pressrun.summary import Outcome, RunSummary
from tests import engines, runs
from workers.fleet import LocalFleet

pytestmark = pytest.mark.usefixtures("prefect_api")
FEW_STEPS = {"steps": 4}
DOZEN = [f"a {colour} {shape}" for colour in ("red", "blue", "green") for shape in ("circle", "star", "ring", "heart")]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Give a place for a collection, and see that whatever ran there has left nothing else."""
    before = runs.traces()
    output = tmp_path / "out"
    yield output
    assert not runs.leftovers(before)
    assert not (output / "writer.json").exists()


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a cluster was opened")

    monkeypatch.setattr(Client, "__init__", refuse)


@pytest.fixture(scope="module")
def borrowed() -> Iterator[LocalFleet]:
    """Give workers that are not the run's own."""
    fleet = LocalFleet(2)
    fleet.open()
    fleet.scale(2)
    yield fleet
    fleet.close()


def dead_letters(collection: Path) -> list[dict[str, Any]]:
    return failures.read_failures(Store(Location(str(collection)))).to_pylist()


def server_records(summary: RunSummary) -> tuple[list[Any], list[Any]]:
    """Return the task runs and artifacts that the server has of a run."""
    with get_client(sync_client=True) as client:
        flow_runs = [run for run in client.read_flow_runs() if str(run.id).startswith(summary.run_id[-8:])]
        assert len(flow_runs) == 1
        only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_runs[0].id]))
        return client.read_task_runs(flow_run_filter=only), client.read_artifacts(flow_run_filter=only)


@dataclass(frozen=True)
class Made:
    out: Path
    summary: RunSummary


@pytest.fixture(scope="module")
def made(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give a collection drawn by the carried model and embedded by its companion, as `make run` does it."""
    before = runs.traces()
    out = tmp_path_factory.mktemp("made") / "out"
    summary = generate_images(
        runs.job(out, DOZEN, engine="diffusers", embedder="carried", defaults=FEW_STEPS, workers=1)
    )
    assert not runs.leftovers(before)
    return Made(out, summary)


@pytest.mark.slow
def test_a_dozen_prompts_become_a_sound_collection(made: Made) -> None:
    assert (made.summary.outcome, made.summary.done, made.summary.failed) == (Outcome.complete, 12, 0)
    assert not runs.flaws(made.out)
    rows = runs.rows(made.out)
    assert sorted(row["prompt"] for row in rows.values()) == sorted(DOZEN)
    for row in rows.values():
        with Image.open(made.out / row["path"]) as picture:
            assert picture.text["prompt"] == row["prompt"]
            assert np.asarray(picture).std() > 0
    for name in ("report.html", "contact-sheet.png", "index/current.json", "collection.json"):
        assert (made.out / name).is_file()
    assert not (made.out / "writer.json").exists()


@pytest.mark.slow
def test_the_server_shows_every_stage_by_a_name_to_read_and_the_artifacts(made: Made) -> None:
    stages = {
        "check and plan",
        "provision cache for shapes",
        "check the options of shapes",
        "warm shapes",
        "scale out for 12 images",
        "generate 12 images",
        "images 0 to 12",
        "index 12 images",
        "tear down",
    }

    def completed() -> set[str]:
        return {run.name for run in server_records(made.summary)[0] if run.state and run.state.is_completed()}

    # The server takes note of task runs a little later than they happen.
    runs.wait_until(lambda: completed() >= stages, f"{sorted(stages)} on the server", completed)
    assert completed() == stages
    keys = {artifact.key for artifact in server_records(made.summary)[1]}
    assert {"progress", "report", "stages", "contact-sheet", "report-page"} <= keys


@pytest.mark.slow
def test_a_rerun_after_a_kill_before_the_index_makes_the_index_without_a_cluster(
    made: Made, out: Path, no_cluster: None
) -> None:
    shutil.copytree(made.out, out)
    shutil.rmtree(out / "index")
    again = generate_images(runs.job(out, DOZEN, engine="diffusers", embedder="carried", defaults=FEW_STEPS))
    assert (again.outcome, again.held, again.done) == (Outcome.complete, 12, 0)
    assert not runs.flaws(out)


def test_a_rerun_opens_no_cluster_and_more_rows_render_only_those(out: Path, request: pytest.FixtureRequest) -> None:
    first = generate_images(runs.job(out, runs.prompts(4)))
    made = runs.rows(out)
    again = generate_images(runs.job(out, runs.prompts(7)))
    assert (first.done, again.held, again.done) == (4, 4, 3)
    assert {image_id: row for image_id, row in runs.rows(out).items() if image_id in made} == made
    request.getfixturevalue("no_cluster")
    idle = generate_images(runs.job(out, runs.prompts(7)))
    assert (idle.outcome, idle.held, idle.done) == (Outcome.complete, 7, 0)
    assert not runs.flaws(out)
    assert len(runs.rows(out)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 11], ids=["first", "last"])
def test_one_raising_prompt_costs_one_row_wherever_it_stands(out: Path, place: int) -> None:
    prompts = runs.prompts(12)
    prompts[place] = "boom"
    summary = generate_images(runs.job(out, prompts, engine="tests.engines:faulty", batch_size=4))
    assert (summary.outcome, summary.done, summary.failed) == (Outcome.partial, 11, 1)
    (letter,) = dead_letters(out)
    assert (letter["prompt"], letter["row"], letter["stage"]) == ("boom", place + 1, "render")
    assert (letter["error_type"], letter["error"]) == ("ValueError", "boom [at] 'boom'")
    assert not runs.flaws(out)
    engines.heal(out)
    healed = generate_images(runs.job(out, prompts, engine="tests.engines:faulty", batch_size=4))
    assert (healed.outcome, healed.held, healed.done) == (Outcome.complete, 11, 1)
    assert not dead_letters(out)
    assert not runs.flaws(out)


def test_a_run_of_failures_alone_ends_partial_with_its_reasons(out: Path) -> None:
    summary = generate_images(runs.job(out, ["boom"], engine="tests.engines:faulty", embedder="carried", workers=1))
    assert (summary.outcome, summary.done, summary.failed) == (Outcome.partial, 0, 1)
    assert [letter["prompt"] for letter in dead_letters(out)] == ["boom"]


@pytest.mark.slow
def test_a_prompt_that_kills_its_worker_every_time_is_isolated_and_the_others_complete(out: Path) -> None:
    prompts = [*runs.prompts(5), "kill always", *runs.prompts(9)[5:]]
    summary = generate_images(runs.job(out, prompts, engine="tests.engines:faulty", batch_size=4))
    assert (summary.outcome, summary.done, summary.failed) == (Outcome.partial, 9, 1)
    (letter,) = dead_letters(out)
    assert (letter["prompt"], letter["error_type"]) == ("kill always", "KilledWorker")
    assert not runs.flaws(out)


@pytest.mark.slow
def test_neighbours_of_a_killer_in_batches_of_one_are_not_taken_for_killers(out: Path) -> None:
    prompts = ["kill always", *runs.prompts(8)]
    summary = generate_images(runs.job(out, prompts, engine="tests.engines:faulty", batch_size=1))
    assert (summary.done, summary.failed) == (8, 1)
    assert [letter["prompt"] for letter in dead_letters(out)] == ["kill always"]


def test_a_prompt_that_kills_its_worker_once_costs_nothing(out: Path) -> None:
    summary = generate_images(runs.job(out, [*runs.prompts(5), "kill once"], engine="tests.engines:faulty"))
    assert (summary.outcome, summary.done, summary.failed) == (Outcome.complete, 6, 0)
    assert (engines.notes_folder(out) / "killed").exists()
    assert not runs.flaws(out)


def test_batches_too_large_for_memory_are_halved_until_all_images_are_made(out: Path) -> None:
    summary = generate_images(runs.job(out, runs.prompts(9), engine="tests.engines:small", batch_size=8))
    assert (summary.outcome, summary.done) == (Outcome.complete, 9)
    assert {row["batch_size"] for row in runs.rows(out).values()} == {2}
    assert sorted(engines.drawn(out)) == sorted(runs.rows(out))
    assert not runs.flaws(out)


def test_the_measured_batch_size_stays_within_memory(out: Path) -> None:
    summary = generate_images(runs.job(out, runs.prompts(5), engine="tests.engines:small", batch_size=None))
    assert (summary.outcome, summary.done) == (Outcome.complete, 5)
    assert max(row["batch_size"] for row in runs.rows(out).values()) <= 2


def test_an_engine_that_cannot_be_imported_is_refused_by_name_without_waiting_for_retries(out: Path) -> None:
    with pytest.raises(InvalidJob, match=r"tests\.engines:missing"):
        generate_images(runs.job(out, runs.prompts(2), engine="tests.engines:missing"))


def test_bad_rows_are_refused_before_anything_is_written(out: Path, no_cluster: None) -> None:
    with pytest.raises(InvalidPrompts) as refusal:
        generate_images(runs.job(out, [{"prompt": "a", "steps": 0}, "fine", {"prompt": ""}]))
    assert [problem.row for problem in refusal.value.problems] == [1, 3]
    assert not out.exists()


def test_a_collection_that_another_run_writes_to_is_left_alone(out: Path, no_cluster: None) -> None:
    from pressrun.writer_claim import WriterClaim

    claim = WriterClaim(Store(Location(str(out))), "another-run")
    claim.acquire()
    try:
        with pytest.raises(CollectionBusy, match="another-run"):
            generate_images(runs.job(out, runs.prompts(2)))
        assert (out / "writer.json").exists()
    finally:
        claim.release()


def test_borrowed_workers_serve_one_run_after_the_other_and_are_left_running(out: Path, borrowed: LocalFleet) -> None:
    workers = borrowed.open().run(os.getpid)
    cluster = ExistingDaskCluster(address=borrowed.open().scheduler.address)
    for images, new in ((4, 4), (7, 3)):
        summary = generate_images(runs.job(out, runs.prompts(images), cluster=cluster, workers=None))
        assert (summary.outcome, summary.done) == (Outcome.complete, new)
        assert borrowed.open().run(os.getpid) == workers
    assert not runs.flaws(out)
