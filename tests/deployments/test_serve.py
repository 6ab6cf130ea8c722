"""`make serve`: everything comes up with nothing else to type, and nothing stays behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prefect.deployments import run_deployment

from deployments.serve import check_registered, schedules, switch_on
from pressrun import layout, manifest
from pressrun.errors import StageFailed
from pressrun.location import Location
from pressrun.storage import Store
from tests.home import free_port
from tests.served import (
    CLONE,
    SHAPES,
    Served,
    await_true,
    mark_of,
    marked_with,
    plain_call,
    read_until_up,
    start_serve,
)

pytestmark = pytest.mark.slow


def job(output: Path, **settings: Any) -> dict[str, Any]:
    prompts = ["a red circle", {"prompt": "a blue star", "seed": 7}]
    plain = {"engine": "null", "embedder": "none", "batch_size": 2, "workers": 1}
    return {"prompts": prompts, "model": SHAPES, "output": str(output)} | plain | settings


def test_prefect_yaml_registers_each_of_its_deployments(served: Served) -> None:
    wanted = yaml.safe_load((CLONE / "prefect.yaml").read_text())["deployments"]
    found = {deployment["entrypoint"]: deployment for deployment in served.post("/deployments/filter", {})}
    assert set(found) == {"flows.generate_images.generate_images", "flows.publish_model.publish_model"}
    for one in wanted:
        deployment = found[one["entrypoint"]]
        assert deployment["name"] == one["name"]
        assert deployment["pull_steps"] == [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(CLONE)}}
        ]
        assert deployment["parameters"] == one["parameters"]
        assert not any(schedule["active"] for schedule in deployment["schedules"])
        assert deployment["work_pool_name"] == "pressrun"


@pytest.mark.parametrize("skipped", ["generate-images/this-machine", "publish-model/release"])
def test_a_deployment_that_was_skipped_is_told_by_name(served: Served, skipped: str) -> None:
    with httpx.Client(base_url=f"{served.url}/api", trust_env=False) as api:
        check_registered(api)
        deployment = api.get(f"/deployments/name/{skipped}").json()

        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(404) if skipped in request.url.path else httpx.Response(200, json=deployment)

        with (
            httpx.Client(base_url=api.base_url, transport=httpx.MockTransport(answer)) as lacking,
            pytest.raises(StageFailed, match=f"^Not registered: {skipped};"),
        ):
            check_registered(lacking)


def test_a_schedule_that_was_switched_on_is_on_again_after_deploying(served: Served) -> None:
    with httpx.Client(base_url=f"{served.url}/api", trust_env=False) as api:
        (schedule,) = schedules(api)
        path = f"/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}"
        try:
            switch_on(api, {"another"})
            assert [one["active"] for one in schedules(api)] == [False]
            switch_on(api, {"nightly"})
            assert [one["active"] for one in schedules(api)] == [True]
        finally:
            api.patch(path, json={"active": False}).raise_for_status()


def test_prefect_yaml_names_no_folder_of_a_machine() -> None:
    text = (CLONE / "prefect.yaml").read_text()
    assert str(CLONE) not in text
    assert (CLONE / yaml.safe_load(text)["deployments"][0]["parameters"]["job"]["prompts"]).is_file()


def test_its_last_words_name_the_form_and_the_form_is_there(served: Served) -> None:
    form = next(line.split()[1] for line in served.output if line.startswith("form"))
    assert "<title>Prefect" in httpx.get(form, headers={"Accept": "text/html"}, trust_env=False).text
    deployment = served.get("/deployments/name/generate-images/this-machine")
    assert f"/deployments/deployment/{deployment['id']}/run" in form


def test_it_listens_on_this_machine_only(served: Served) -> None:
    processes = [psutil.Process(served.process.pid), *marked_with(served.mark)]
    listening = [c for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_a_second_one_is_refused_with_the_remedy(served: Served, tmp_path: Path) -> None:
    port = int(served.url.rpartition(":")[2])
    second = start_serve(tmp_path, port)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"Port {port} cannot be used" in output
    assert f"PRESSRUN_PORT={port + 100} make serve" in output
    third = start_serve(served.state, free_port())
    output, _ = third.communicate(timeout=60)
    assert third.returncode == 2
    assert "PRESSRUN_STATE" in output


def test_run_deployment_and_a_plain_call_make_the_same_collection(served: Served, tmp_path: Path) -> None:
    with served.chosen():
        run = run_deployment(
            "generate-images/this-machine", parameters={"job": job(tmp_path / "a")}, timeout=120, poll_interval=1
        )
    assert run.state is not None
    assert run.state.is_completed()
    call = plain_call(served, job(tmp_path / "b"))
    output, errors = call.communicate(timeout=120)
    assert call.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["outcome"] == "complete"
    columns = ["image_id", "prompt", "seed", "path", "sha256"]
    first, second = (sorted_rows(tmp_path / name, columns) for name in "ab")
    assert len(first) == 2
    assert first == second


def sorted_rows(collection: Path, columns: list[str]) -> list[dict[str, Any]]:
    store = Store(Location(str(collection)))
    rows = [row for name in manifest.part_names(store) for row in manifest.read_table(store, name, columns).to_pylist()]
    return sorted(rows, key=lambda row: str(row["image_id"]))


def test_nothing_is_left_when_it_is_killed_while_a_run_is_under_way(tmp_path: Path) -> None:
    port = free_port()
    process = start_serve(tmp_path / "state", port)
    output = tmp_path / "out"
    try:
        lines = read_until_up(process)
        assert process.poll() is None, "".join(lines)
        mark = mark_of(process)
        server = Served(process, f"http://127.0.0.1:{port}", tmp_path / "state", lines)
        prompts = [f"a red circle {count}" for count in range(200)]
        server.started_run(job(output, prompts=prompts, engine="tests.engines:slow"))
        await_true(lambda: list((output / layout.RECEIPTS).glob("*.parquet")))
        family = marked_with(mark)
        assert len(family) >= 4  # server, worker, flow run, Dask worker
        os.kill(process.pid, signal.SIGKILL)
        await_true(lambda: not any(is_running(one) for one in family))
        assert marked_with(mark) == []
        assert not (output / layout.WRITER).exists(), "the run was not given the time to tear down"
    finally:
        end(process)


def is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=90)
