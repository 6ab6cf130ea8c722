from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pressrun import draft as drafts
from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection, read_identity
from pressrun.draft import draft_run, drafted
from pressrun.errors import CollectionBusy, InvalidCollection, InvalidJob, InvalidModel, InvalidPrompts
from pressrun.job import Job
from pressrun.location import Location
from pressrun.run import Run, open_run
from pressrun.storage import TEMPORARY, Store
from pressrun.verification import verify
from pressrun.writer_claim import WriterClaim
from tests.pressrun.models.small_model import safetensors, write_model
from tests.pressrun.small_collection import claim_of, ids, png, put_images, put_tar, snapshot

PROMPTS = ["a red star", "a blue ring", "a red star"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "projection_dim": 4}))
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


@pytest.fixture
def job(model: Path, tmp_path: Path) -> Job:
    return Job(PROMPTS, Location(str(model)), Location(str(tmp_path / "out")), None)


@pytest.fixture
def store(job: Job) -> Store:
    return Store(job.collection)


def records(store: Store, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(layout.run(run_id, "job.json")))
    return found


def test_a_run_is_planned_and_its_records_are_written(job: Job, store: Store) -> None:
    run = open_run(job, "run-1")
    try:
        assert (run.plan.todo.num_rows, run.plan.duplicates, run.plan.held) == (2, 1, 0)
        assert not run.is_idle
        assert run.ledger.counts.total == 2
        plan = manifest.read_table(store, layout.run("run-1", "plan.parquet"))
        assert ids(plan) == ids(run.plan.requests)
        assert records(store, "run-1")["todo"] == 2
        assert read_identity(store) == Identity("", 0)
        with pytest.raises(CollectionBusy):
            open_run(job, "run-2")
    finally:
        run.close()
    assert not store.exists(layout.WRITER)
    run.close()


def test_a_run_with_everything_held_is_idle(job: Job, store: Store) -> None:
    first = open_run(job, "run-1")
    manifest.write_part(store, put_images(store, first.plan.todo, dimension=0))
    first.close()
    second = open_run(job, "run-2")
    second.close()
    assert second.is_idle
    assert (second.plan.held, second.plan.duplicates) == (2, 1)
    assert repr(second) == "Run('run-2', 0 images to do)"


def test_drafting_changes_nothing(job: Job, store: Store) -> None:
    assert draft_run(job).plan().todo.num_rows == 2
    assert snapshot(store) == {}
    assert not Path(job.collection.url).exists()


def test_a_drafted_job_is_opened_without_reading_its_prompts_again(job: Job, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a red star\n")
    job = replace(job, prompts=Location(str(file)))
    draft = draft_run(job)
    file.write_text("a blue ring\n")
    with drafted(draft):
        run = open_run(job, "run-1")
        run.close()
        other = open_run(replace(job, batch_size=3), "run-2")
        other.close()
    assert run.plan.requests.column("prompt").to_pylist() == ["a red star"]
    assert run.ledger.opened_at == draft.begun_at  # its time is the run's
    again = open_run(job, "run-3")
    again.close()
    for checked in (other, again):
        assert checked.plan.requests.column("prompt").to_pylist() == ["a blue ring"]


def test_a_drafted_job_is_planned_for_what_its_collection_holds_when_it_is_opened(job: Job, store: Store) -> None:
    draft = draft_run(job)
    first = open_run(job, "run-1")
    manifest.write_part(store, put_images(store, first.plan.todo, dimension=0))
    first.close()
    with drafted(draft):
        second = open_run(job, "run-2")
        second.close()
    assert (second.plan.held, second.is_idle) == (2, True)


def test_the_time_of_reading_and_planning_counts_as_the_runs(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    read, began = drafts.read_requests, list[float]()

    def read_requests(*arguments: Any) -> Any:
        began.append(time.monotonic())
        return read(*arguments)

    monkeypatch.setattr(drafts, "read_requests", read_requests)
    run = open_run(job, "run-1")
    run.close()
    assert run.ledger.opened_at < began[0]


def test_what_a_killed_run_left_is_cleared_up(job: Job, store: Store) -> None:
    draft = draft_run(job)
    join_collection(store, Identity("", 0))
    rows = put_images(store, draft.plan().todo, dimension=0)
    manifest.write_receipt(store, "finished", rows.slice(0, 1))
    store.write(layout.WRITER, claim_of("killed"))
    store.write(f"{TEMPORARY}/half", b"x")
    run = open_run(job, "next")
    left = list(store.walk(TEMPORARY))
    run.close()
    assert left == []
    assert ids(run.plan.todo) == ids(rows)[1:]
    assert manifest.receipt_names(store) == []
    assert len(manifest.part_names(store)) == 1
    assert not store.exists(layout.WRITER)


def test_tars_that_a_killed_run_left_are_cleared_up_and_what_was_committed_is_kept(job: Job, store: Store) -> None:
    job = replace(job, layout="webdataset")
    requests = draft_run(job).plan().todo
    join_collection(store, Identity("", 0, layout="webdataset"))
    manifest.write_receipt(store, "finished", put_tar(store, requests.slice(0, 1), dimension=0))
    store.write(layout.shard("ab" * 10, 0), b"of a part that was not written any more")
    store.write(layout.WRITER, claim_of("killed"))
    run = open_run(job, "next")
    run.close()
    assert ids(run.plan.todo) == ids(requests)[1:]
    assert records(store, "next")["layout"] == "webdataset"
    assert not verify(store).flaws
    assert (store.names(layout.RECEIPTS), len(store.names(layout.SHARDS))) == ([], 1)


def test_a_closed_run_tells_threads_that_are_still_at_work_to_stop(job: Job) -> None:
    run = open_run(job, "run-1")
    run.check_claim()
    run.close()
    with pytest.raises(CollectionBusy):
        run.check_claim()


def refused_prompts(job: Job) -> Job:
    return replace(job, prompts=[{"prompt": "a", "seed": "many"}])


def refused_model(job: Job) -> Job:
    return replace(job, model=Location(job.model.url + "-is-not-here"))


@pytest.mark.parametrize(("change", "error"), [(refused_prompts, InvalidPrompts), (refused_model, InvalidModel)])
def test_a_refused_job_leaves_no_trace(job: Job, store: Store, change: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_run(change(job), "run-1")
    assert not Path(job.collection.url).exists()


def test_a_refused_place_is_left_as_it_was(job: Job, store: Store) -> None:
    store.write("holiday/beach.png", png(1))
    store.sweep()
    with pytest.raises(InvalidCollection, match="'holiday'"):
        open_run(job, "run-1")
    assert snapshot(store) == {"holiday/beach.png": png(1)}
    assert [path.name for path in Path(job.collection.url).iterdir()] == ["holiday"]


def test_a_collection_of_another_embedder_is_refused_without_a_claim(job: Job, store: Store, embedder: Path) -> None:
    join_collection(store, Identity("", 0))
    before = snapshot(store)
    with pytest.raises(InvalidCollection, match="was made with embedder none"):
        open_run(replace(job, embedder=Location(str(embedder))), "run-1")
    assert snapshot(store) == before


def test_an_embedders_size_is_the_collections(job: Job, store: Store, embedder: Path) -> None:
    run = open_run(replace(job, embedder=Location(str(embedder))), "run-1")
    run.close()
    assert run.embedder_facts is not None
    assert read_identity(store) == Identity(run.embedder_facts.revision, 4)


def test_a_plan_that_cannot_be_written_leaves_no_claim(job: Job, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Store, name: str) -> None:
        assert name.endswith("plan.parquet")
        raise OSError("the disk is full")

    monkeypatch.setattr(Store, "writing", fail)
    with pytest.raises(OSError, match="disk is full"):
        open_run(job, "run-1")
    assert not store.exists(layout.WRITER)


def test_closing_gives_the_claim_back_even_if_sweeping_fails(
    job: Job, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(job, "run-1")

    def fail(self: Store) -> None:
        raise OSError("busy")

    monkeypatch.setattr(Store, "sweep", fail)
    with pytest.raises(OSError, match="busy"):
        run.close()
    assert not store.exists(layout.WRITER)


def test_a_run_that_lost_its_claim_leaves_the_others_temporary_objects(
    job: Job, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = draft_run(job)
    store.write(f"{TEMPORARY}/theirs", b"x")
    claim = WriterClaim(store, "slept")
    monkeypatch.setattr(WriterClaim, "is_lost", True)
    Run("slept", draft, draft.plan(), claim).close()
    assert store.read(f"{TEMPORARY}/theirs") == b"x"


def test_another_engine_makes_other_pictures_of_the_same_request(job: Job) -> None:
    named = [
        set(draft_run(replace(job, engine=engine)).requests.column("image_id").to_pylist())
        for engine in ("diffusers", "null", "tests.engines:slow")
    ]
    assert not named[0] & named[1]
    assert not named[1] & named[2]


def test_a_job_that_does_not_fit_its_collection_is_refused_before_anything_is_claimed(
    job: Job, store: Store, embedder: Path
) -> None:
    open_run(job, "run-1").close()
    before = snapshot(store)
    with pytest.raises(InvalidCollection, match=r"made with embedder none \(0 values\), the job's is"):
        draft_run(replace(job, embedder=Location(str(embedder))))
    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("nope", "There is no engine 'nope'"),
        ("no.such.module:factory", "cannot be imported here: No module named"),
        ("json:no_such_name", "cannot be imported here: module 'json' has no attribute"),
        ("os:getcwd", "must be callable with one argument"),
        ("math:pi", "must be callable with one argument"),
    ],
)
def test_an_engine_that_no_worker_could_make_is_refused(job: Job, engine: str, reason: str) -> None:
    with pytest.raises(InvalidJob, match=reason):
        draft_run(replace(job, engine=engine))
