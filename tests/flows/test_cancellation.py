"""However a run is stopped: it says so, nothing keeps running, and the same job goes on from there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from pressrun import layout
from tests import engines
from tests.served import SHAPES, Served, await_true, plain_call

pytestmark = pytest.mark.slow

IMAGES = 200  # 40 s of drawing: none of the runs here would end by itself before it is stopped


def job(output: Path, engine: str = "tests.engines:slow", images: int = IMAGES) -> dict[str, Any]:
    return {
        "prompts": [f"a red circle {number}" for number in range(images)],
        "model": SHAPES,
        "output": str(output),
        "engine": engine,
        "embedder": "none",
        "batch_size": 2,
        "workers": 1,
    }


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def await_drawing(output: Path) -> int:
    """Wait until batches have been finished, and return the process of the flow."""
    await_true(lambda: len(list((output / layout.RECEIPTS).glob("*.parquet"))) >= 3)
    return int(json.loads((output / layout.WRITER).read_text())["pid"])


def await_end_of_family(flow: psutil.Process, family: list[psutil.Process]) -> None:
    assert len(family) >= 1, "the run had no workers, so this proves nothing"
    await_true(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))
    assert not flow.is_running() or flow.status() == "zombie"


def only_run_of(served: Served, output: Path) -> dict[str, Any]:
    runs = served.post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 20})
    return next(run for run in runs if run["parameters"]["job"]["output"] == str(output))


def assert_torn_down(output: Path) -> None:
    assert not (output / layout.WRITER).exists()
    (run,) = (output / layout.RUNS).iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["outcome"] == "unfinished"
    assert 0 < summary["done"] < IMAGES
    assert (output / layout.REPORT).exists()


def assert_rerun_finishes(served: Served, output: Path) -> None:
    engines.heal(output)  # another engine would make other pictures
    rerun = plain_call(served, job(output))
    text, errors = rerun.communicate(timeout=120)
    assert rerun.returncode == 0, errors
    summary = json.loads(text.splitlines()[-1])
    assert summary["outcome"] == "complete"
    assert summary["held"] > 0
    assert summary["held"] + summary["done"] == IMAGES


def test_a_deployed_run_cancelled_from_outside_tears_down_and_ends_cancelled(served: Served, output: Path) -> None:
    run_id = served.started_run(job(output))
    flow = psutil.Process(await_drawing(output))
    family = flow.children(recursive=True)
    served.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert served.await_state(run_id, "CANCELLED", "FAILED", "CRASHED")["state_type"] == "CANCELLED"
    await_end_of_family(flow, family)
    assert_torn_down(output)
    assert_rerun_finishes(served, output)


def test_a_plain_call_notices_that_it_was_cancelled_and_ends_cancelled(served: Served, output: Path) -> None:
    call = plain_call(served, job(output))
    flow = psutil.Process(await_drawing(output))
    family = flow.children(recursive=True)
    run_id = only_run_of(served, output)["id"]
    served.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    _, errors = call.communicate(timeout=60)
    assert call.returncode == 1
    assert "RunCancelled" in errors.splitlines()[-1]
    assert served.flow_run(run_id)["state_type"] == "CANCELLED"
    await_end_of_family(flow, family)
    assert_torn_down(output)


def test_a_plain_call_cancelled_while_its_workers_start_draws_nothing(served: Served, output: Path) -> None:
    call = plain_call(served, job(output))
    await_true(lambda: list((output / layout.RUNS).glob("*/fleet.json")))  # written before anything is started
    run_id = only_run_of(served, output)["id"]
    served.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    _, errors = call.communicate(timeout=60)
    assert "cancelled before it could" in errors.splitlines()[-1]
    assert served.flow_run(run_id)["state_type"] == "CANCELLED"
    assert not list((output / layout.RECEIPTS).glob("*"))
    assert not (output / layout.WRITER).exists()


def test_sigterm_to_a_plain_call_tears_down_before_it_ends(served: Served, output: Path) -> None:
    call = plain_call(served, job(output))
    flow = psutil.Process(await_drawing(output))
    family = flow.children(recursive=True)
    call.send_signal(signal.SIGTERM)
    call.communicate(timeout=30)  # what Prefect's runner grants
    assert call.returncode != 0
    await_end_of_family(flow, family)
    assert_torn_down(output)
    assert only_run_of(served, output)["state_type"] == "CRASHED"
    assert_rerun_finishes(served, output)


def test_a_killed_flow_process_leaves_no_worker_and_its_collection_is_given_free(served: Served, output: Path) -> None:
    run_id = served.started_run(job(output))
    flow = psutil.Process(await_drawing(output))
    family = flow.children(recursive=True)
    os.kill(flow.pid, signal.SIGKILL)
    assert served.await_state(run_id, "CANCELLED", "FAILED", "CRASHED")["state_type"] == "CRASHED"
    await_end_of_family(flow, family)
    await_true(lambda: not (output / layout.WRITER).exists())  # the hook, in another process
    await_true(lambda: "after the run was killed" in served.logs(run_id))
