"""kill -9, anywhere, at any time: nothing lost, nothing twice, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.generate_images import generate_images
from pressrun.summary import Outcome
from tests import engines, runs

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.slow]

IMAGES, BATCH, WORKERS, SHARD = 24, 2, 2, 8
OPTIONS = {"engine": "tests.engines:slow", "batch_size": BATCH, "workers": WORKERS, "shard_images": SHARD}


def parts(out: Path) -> int:
    return len(list(out.glob("manifest/*.parquet")))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "workers are starting": lambda out: list(out.glob("runs/*/fleet.json")),
    "first receipt": lambda out: list(out.glob("receipts/*.parquet")),
    "first part": parts,
    "last part": lambda out: parts(out) >= IMAGES / SHARD,
}


@pytest.fixture(scope="module")
def undisturbed(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a collection that was made in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    engines.heal(out)
    generate_images(runs.job(out, runs.prompts(IMAGES), **OPTIONS))
    return out


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> str:
    """Give the layout of the run's collection."""
    return str(getattr(request, "param", "files"))


@pytest.fixture
def flow(prefect_api: str, tmp_path: Path, layout: str) -> Iterator[subprocess.Popen[str]]:
    """Start a run as a process of its own, slow enough to be caught in the act."""
    file = runs.prompt_file(tmp_path, runs.prompts(IMAGES))
    named = {name.replace("_", "-"): value for name, value in (OPTIONS | {"layout": layout}).items()}
    process = runs.start(prefect_api, "generate", file, *runs.quick_options(tmp_path / "out", **named))
    yield process
    process.kill()
    process.communicate()


def worker_processes(flow: int) -> list[psutil.Process]:
    children = psutil.Process(flow).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def by_member(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows with the last name of each path: what comes before it tells a picture's tar, which may change."""
    return {image_id: row | {"path": row["path"].rpartition("/")[2]} for image_id, row in rows.items()}


@pytest.mark.parametrize(
    ("moment", "layout"),
    [*((moment, "files") for moment in MOMENTS), ("first part", "webdataset")],
    indirect=["layout"],
)
def test_a_killed_flow_leaves_nothing_running_and_its_rerun_draws_only_what_was_lost(
    moment: str, layout: str, flow: subprocess.Popen[str], undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs.catch(flow, lambda: MOMENTS[moment](out), moment)
    family = psutil.Process(flow.pid).children(recursive=True)
    flow.kill()
    flow.wait()
    assert (out / "writer.json").exists(), "the run had ended before it was killed, so this proves nothing"
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    held = runs.rows(out)

    engines.heal(out)  # another engine would make other pictures
    summary = generate_images(runs.job(out, runs.prompts(IMAGES), **OPTIONS, layout=layout))
    assert (summary.outcome, summary.held, summary.done) == (Outcome.complete, len(held), IMAGES - len(held))
    rows = runs.rows(out)
    assert by_member({image_id: rows[image_id] for image_id in held}) == by_member(held)
    assert by_member(runs.lasting(out)) == by_member(runs.lasting(undisturbed))
    assert not runs.flaws(out)
    redrawn = sum(Counter(engines.drawn(out)).values()) - IMAGES
    assert redrawn <= BATCH * WORKERS
    assert not runs.scratch_folders()


def test_a_killed_worker_costs_nothing_but_its_own_batches(
    flow: subprocess.Popen[str], undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs.catch(flow, lambda: MOMENTS["first receipt"](out), "the first receipt")
    victims = worker_processes(flow.pid)
    assert len(victims) == WORKERS
    victims[0].send_signal(signal.SIGKILL)
    _, said = flow.communicate(timeout=90)
    assert flow.returncode == 0, said
    assert runs.lasting(out) == runs.lasting(undisturbed)
    assert not runs.flaws(out)
    assert len(engines.drawn(out)) - IMAGES <= BATCH * 3  # what the worker had been given


def test_all_workers_killed_at_once_come_back(flow: subprocess.Popen[str], undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs.catch(flow, lambda: MOMENTS["first part"](out), "the first part")
    for worker in worker_processes(flow.pid):
        worker.kill()
    _, said = flow.communicate(timeout=90)
    assert flow.returncode == 0, said
    assert runs.lasting(out) == runs.lasting(undisturbed)
    assert not runs.flaws(out)


def test_a_stopped_command_tears_down_and_its_rerun_completes(
    prefect_api: str, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    file = runs.prompt_file(tmp_path, runs.prompts(IMAGES))
    options = runs.quick_options(out, engine=OPTIONS["engine"], workers=1)  # slow enough to be caught in the act
    flow = runs.start(prefect_api, "generate", file, *options, start_new_session=True)
    runs.catch(flow, lambda: MOMENTS["first receipt"](out), "the first receipt")
    family = psutil.Process(flow.pid).children(recursive=True)
    os.killpg(flow.pid, signal.SIGTERM)  # as a service manager does: to the whole group
    _, said = flow.communicate(timeout=30)
    assert flow.returncode == -signal.SIGTERM  # 143 to a shell
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not (out / "writer.json").exists()
    (record,) = out.glob("runs/*/summary.json")
    assert '"unfinished"' in record.read_text()
    engines.heal(out)
    assert generate_images(runs.job(out, runs.prompts(IMAGES), **OPTIONS)).outcome is Outcome.complete
    assert runs.lasting(out) == runs.lasting(undisturbed)
    assert not runs.flaws(out)
