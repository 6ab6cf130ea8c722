"""A release on real workers: five steps on the server, one revision more or as many as before in the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from blocks.clusters import ExistingDaskCluster
from flows.publish_model import publish_model
from flows.release_parameters import ReleaseParameters
from pressrun.errors import InvalidCollection, InvalidJob, InvalidModel, ReleaseRefused
from pressrun.release.release import ReleaseSummary
from tests import runs
from tests.home import HOME
from tests.pressrun.models.small_model import write_model
from tests.s3_server import S3Server
from workers.cache.folder_notes import note_budget
from workers.cache.store_state import look
from workers.fleet import LocalFleet

pytestmark = pytest.mark.usefixtures("prefect_api")
CACHE = HOME / ".cache" / "pressrun" / "models"
PROMPTS = ["a red star", "a blue ring"]
SMALL = {"width": 64, "height": 64, "steps": 2}


@pytest.fixture(scope="module")
def borrowed() -> Iterator[LocalFleet]:
    fleet = LocalFleet(2)
    fleet.open()
    fleet.scale(2)
    yield fleet
    fleet.close()


@dataclass(frozen=True)
class Studio:
    """Models in a bucket, workers to release them on, and a golden set."""

    server: S3Server
    bucket: str
    cluster: ExistingDaskCluster
    folder: Path

    @property
    def golden(self) -> Path:
        return self.folder / "golden"

    def release(self, lighter: int, **changes: Any) -> ReleaseSummary:
        """Release a model that draws so much lighter than it should."""
        name = f"paint-{lighter}"
        if not (self.folder / name).exists():
            folder = write_model(self.folder / name)
            (folder / "tokenizer" / "vocab.json").write_text(json.dumps({"lighter": lighter}))
            runs.upload(self.server, folder, f"{self.bucket}/{name}")
        settings = {"model": name, "golden": str(self.golden), "engine": "tests.engines:tinted"}
        store = runs.model_store(self.server, self.bucket)
        return publish_model(ReleaseParameters(**settings | {"cluster": self.cluster, "model_store": store} | changes))


@dataclass(frozen=True)
class Released:
    studio: Studio
    summary: ReleaseSummary
    cache: Path


@pytest.fixture(scope="module")
def first(
    prefect_api: str, borrowed: LocalFleet, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Released:
    """Give a first release, and a copy of what it left in the cache."""
    shutil.rmtree(CACHE, ignore_errors=True)
    folder = tmp_path_factory.mktemp("first")
    cluster = ExistingDaskCluster(address=borrowed.open().scheduler.address)
    studio = Studio(s3_server, s3_server.make_bucket(), cluster, folder)
    summary = studio.release(0, write_golden=True, prompts=PROMPTS, defaults=SMALL)
    return Released(studio, summary, shutil.copytree(CACHE, folder / "cache"))


@pytest.fixture
def released(first: Released, tmp_path: Path) -> Iterator[Released]:
    """Give the first release, with a cache and a golden set that a test may change."""
    shutil.rmtree(CACHE, ignore_errors=True)
    shutil.copytree(first.cache, CACHE)
    shutil.copytree(first.studio.golden, tmp_path / "golden")
    yield replace(first, studio=replace(first.studio, folder=tmp_path))
    shutil.rmtree(CACHE)


def cached() -> set[str]:
    return {marker.parent.name for marker in CACHE.glob("*/complete.json")}


def last_run() -> tuple[Any, set[str], list[Any]]:
    """Return the last release's flow run, its completed tasks and its artifacts, as the server has them."""
    with get_client(sync_client=True) as client:
        flow_run = max(
            (run for run in client.read_flow_runs() if "against" in run.name), key=lambda run: run.expected_start_time
        )
        only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        tasks = client.read_task_runs(flow_run_filter=only)
        artifacts = client.read_artifacts(flow_run_filter=only)
    return flow_run, {task.name for task in tasks if task.state and task.state.is_completed()}, artifacts


def test_a_first_release_writes_the_golden_set_and_passes_it_in_five_steps(first: Released) -> None:
    summary, golden = first.summary, first.studio.golden
    assert (summary.accepted, summary.written, summary.pictures, summary.over_budget) == (True, 2, 2, 0)
    assert (summary.least_psnr_db, summary.hosts) == (None, 1)
    assert summary.preloaded_bytes > 0
    assert cached() == {summary.revision}
    assert sorted(row["prompt"] for row in runs.rows(golden).values()) == sorted(PROMPTS)
    assert not runs.flaws(golden)
    steps = {
        "check model and golden set",
        "grow cache for paint-0",
        "preload paint-0",
        "warm workers with paint-0",
        "write golden pictures with paint-0",
        "check paint-0 against golden pictures",
        "shrink cache",
    }
    runs.wait_until(lambda: last_run()[1] >= steps, f"{steps} on the server", lambda: last_run()[1])
    assert last_run()[1] == steps


def test_under_a_budget_a_revision_that_draws_alike_takes_the_place_of_the_old_one(released: Released) -> None:
    golden = runs.rows(released.studio.golden)
    note_budget(CACHE, look(CACHE, None).size_bytes)  # they share all files but one
    summary = released.studio.release(1)
    assert (summary.accepted, summary.written, summary.pictures) == (True, 0, 2)
    assert summary.least_psnr_db == pytest.approx(48.13, abs=0.01)  # one step of 255
    assert cached() == {summary.revision}
    assert summary.freed_bytes > 0
    assert runs.rows(released.studio.golden) == golden


def test_a_revision_that_draws_otherwise_fails_with_its_worst_picture_and_leaves_the_cache_as_it_was(
    released: Released,
) -> None:
    golden = runs.rows(released.studio.golden)
    with pytest.raises(ReleaseRefused, match=r"2 of 2 golden pictures .* PSNR \d+\.\d dB, at least 30\.0 dB wanted"):
        released.studio.release(60)
    assert cached() == {released.summary.revision}
    assert runs.rows(released.studio.golden) == golden
    flow_run, _, artifacts = last_run()
    assert flow_run.state.is_failed()
    (table,) = [artifact for artifact in artifacts if artifact.key == "golden"]
    assert "| over the budget | a red star |" in str(table.data)


def test_hosts_that_read_for_themselves_are_prepared_too(released: Released) -> None:
    summary = released.studio.release(1, runtime="none")
    assert (summary.accepted, summary.hosts) == (True, 1)
    assert summary.preloaded_bytes > 0
    assert summary.freed_bytes == 0
    assert cached() == {summary.revision, released.summary.revision}  # no budget is set


def test_a_mounted_model_is_read_once_through_its_mount_and_no_cache_changes(released: Released) -> None:
    studio = released.studio
    with pytest.raises(InvalidModel, match=r"Host .* has no file .*/nowhere/paint-2/"):
        studio.release(2, runtime="mount", mounts={studio.bucket: str(studio.folder / "nowhere")})
    summary = studio.release(2, runtime="mount", mounts={studio.bucket: str(studio.folder)})
    files = [file for file in (studio.folder / "paint-2").rglob("*") if file.is_file()]
    assert (summary.accepted, summary.hosts, summary.freed_bytes) == (True, 1, 0)
    assert summary.preloaded_bytes == sum(file.stat().st_size for file in files)
    assert cached() == {released.summary.revision}


def test_a_release_without_a_golden_set_and_one_with_a_broken_model_are_refused_before_a_worker_is_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a cluster was opened")

    monkeypatch.setattr(Client, "__init__", refuse)
    with pytest.raises(InvalidCollection, match=r"no golden set at .*--write-golden"):
        publish_model(ReleaseParameters(model=str(runs.MODEL), golden=str(tmp_path / "golden")))
    with pytest.raises(InvalidModel):
        publish_model(ReleaseParameters(model=str(tmp_path), golden=str(tmp_path / "golden")))
    with pytest.raises(InvalidJob, match="lies below none of the mounts"):
        publish_model(ReleaseParameters(model="s3://studio/paint", golden=str(tmp_path / "golden"), runtime="mount"))
    assert not (tmp_path / "golden").exists()


def test_a_golden_picture_that_is_not_its_rows_is_told_by_name(released: Released) -> None:
    first, other = sorted(released.studio.golden.glob("images/*/*.png"))[:2]
    shutil.copy(first, other)
    with pytest.raises(InvalidCollection, match=rf"{other.name} .*its sha256 differs"):
        released.studio.release(1)
    assert cached() == {released.summary.revision}


def test_a_golden_set_is_asked_for_with_the_prompts_it_is_written_from() -> None:
    with pytest.raises(ValueError, match="written from prompts"):
        ReleaseParameters(model="m", golden="g", write_golden=True)
