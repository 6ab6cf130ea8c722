"""`make serve` in a process of its own: a real server, worker, blocks and deployment, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deployments.served_processes import MARK
from tests.home import free_port

CLONE = Path(__file__).parents[1]
SHAPES = "models/shapes"
PATIENCE_S = 120
_PLAIN_CALL = """
import json, sys
from flows.generate_images import generate_images
from flows.parameters import GenerateParameters
if __name__ == "__main__":
    print(json.dumps(generate_images(GenerateParameters(**json.loads(sys.argv[1]))).record()))
"""


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[str]
    url: str
    state: Path
    output: list[str]

    @property
    def environment(self) -> dict[str, str]:
        """What a Python program needs to speak with the server."""
        return os.environ | {"PREFECT_API_URL": f"{self.url}/api", "PREFECT_HOME": str(self.state), "DO_NOT_TRACK": "1"}

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Make it the server of this process."""
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings  # reads its settings once

        with temporary_settings({PREFECT_API_URL: f"{self.url}/api", PREFECT_HOME: self.state}):
            try:
                yield
            finally:
                tell_the_rest()  # else Prefect would go on sending this process's events there

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer("POST", path, json=body)

    def _answer(self, method: str, path: str, **body: Any) -> Any:
        def ask() -> httpx.Response | None:
            answer = httpx.request(method, f"{self.url}/api{path}", trust_env=False, timeout=30, **body)
            # Its database is busy; Prefect's own client asks again too.
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer.raise_for_status()

        return await_true(ask).json()

    def flow_run(self, flow_run_id: object) -> dict[str, Any]:
        return dict(self.get(f"/flow_runs/{flow_run_id}"))

    def started_run(self, parameters: dict[str, Any]) -> str:
        """Start the deployment with a job, as run_deployment does, and return the flow run's id."""
        deployment = self.get("/deployments/name/generate-images/this-machine")["id"]
        run = self.post(f"/deployments/{deployment}/create_flow_run", {"parameters": {"job": parameters}})
        return str(run["id"])

    def await_state(self, flow_run_id: object, *types: str) -> dict[str, Any]:
        return await_true(lambda: (run := self.flow_run(flow_run_id))["state_type"] in types and run)

    def logs(self, flow_run_id: object) -> str:
        body = {"logs": {"flow_run_id": {"any_": [str(flow_run_id)]}}, "limit": 200}
        return "\n".join(line["message"] for line in self.post("/logs/filter", body))

    @property
    def mark(self) -> str:
        """What all processes that serve started, and their children, have in their environment."""
        return mark_of(self.process)


def tell_the_rest() -> None:
    """Have Prefect send what this process still has to report, and choose its server anew for what comes after."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(at_exit=False)


def mark_of(serve: subprocess.Popen[str]) -> str:
    guard = next(c for c in psutil.Process(serve.pid).children() if "deployments.serve_guard" in c.cmdline())
    return guard.cmdline()[-1]


def await_true(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return the condition's value once it is true; other processes offer nothing that could be waited on."""
    end = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not so within {patience_s} s"
        time.sleep(0.1)
    return value


def marked_with(mark: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _environ(process).get(MARK) == mark]


def plain_call(served: Served, parameters: dict[str, Any]) -> subprocess.Popen[str]:
    """Call the flow from plain Python, in a process of its own; it prints its summary."""
    return subprocess.Popen(
        [sys.executable, "-c", _PLAIN_CALL, json.dumps(parameters)],
        cwd=CLONE,
        env=served.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_serve(state: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.serve", "--port", str(port), "--state", str(state)],
        cwd=CLONE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until_up(process: subprocess.Popen[str]) -> list[str]:
    """Read what serve prints until its last word of welcome, or its end."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C stops everything" in line:
            break
    return lines


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state, port = tmp_path_factory.mktemp("served"), free_port()
    process = start_serve(state, port)
    try:
        output = read_until_up(process)
        assert process.poll() is None, "".join(output)
        yield Served(process, f"http://127.0.0.1:{port}", state, output)
    finally:
        mark = mark_of(process) if process.poll() is None else ""
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
        assert process.returncode == 0
        assert marked_with(mark) == []


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return {}
