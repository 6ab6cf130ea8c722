"""`make serve`: Prefect's server and worker, the blocks and the deployment on this machine, with nothing else to type.

Knows nothing of flows. It has a server of its own, whatever server Prefect's settings name, and everything it starts
ends with it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import httpx
from cyclopts import App, Parameter
from filelock import FileLock, Timeout

from deployments.console import ExitCode, out, show_error
from deployments.report_server import serving_reports
from deployments.served_processes import ServedProcesses
from pressrun.errors import InvalidJob, PressrunError, StageFailed

CLONE = Path(__file__).parent.parent
POOL = "pressrun"
DEPLOYMENT = "generate-images/this-machine"
RELEASE_DEPLOYMENT = "publish-model/release"
_PATIENCE_S = 180.0  # a fresh server makes its database first
_POLL_S = 0.3

app = App(name="serve", help=__doc__)


@app.default
def main(
    *,
    port: Annotated[int, Parameter(env_var="PRESSRUN_PORT")] = 4200,
    state: Annotated[Path, Parameter(env_var="PRESSRUN_STATE")] = CLONE / ".work" / "prefect",
) -> int:
    """Serve until Ctrl-C.

    Parameters
    ----------
    port : int
        Port of Prefect's pages and API, on 127.0.0.1 only; the next one serves the reports that they link to.
    state : Path
        Folder for the server's database and the logs.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    try:
        serve(port, state.absolute(), stopped)
    except PressrunError as error:
        show_error(error)
        return ExitCode.REFUSED if isinstance(error, InvalidJob) else ExitCode.FAILED
    return ExitCode.DONE


def serve(port: int, state: Path, stopped: threading.Event) -> None:
    """Bring everything up, say so, and take it down once `stopped` is set.

    Raises
    ------
    InvalidJob
        When the port or the state folder is taken.
    StageFailed
        When a part does not come up, or ends before it should.
    """
    with ExitStack() as stack:
        for wanted in (port, port + 1):
            _refuse_taken(wanted)
        stack.enter_context(_hold(state))
        reports_url = stack.enter_context(serving_reports(port + 1))
        environment = _environment(port, state, reports_url)
        processes = stack.enter_context(ServedProcesses(CLONE, state / "logs", environment))
        api = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}/api", trust_env=False))
        if _bring_up(port, processes, api, stopped):
            _welcome(port, state, api)
            _watch(processes, stopped)
        out.print("stopping ...")


def _bring_up(port: int, processes: ServedProcesses, api: httpx.Client, stopped: threading.Event) -> bool:
    """Start and register everything; return False when it was stopped meanwhile."""

    def wait(what: str, is_so: Callable[[], bool]) -> bool:
        return _wait(what, is_so, processes, stopped)

    out.print("starting Prefect's server, which takes some seconds ...")
    processes.start("server", ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)])
    if not wait("server", lambda: _answers(api, "/health")):
        return False
    out.print("starting a worker, registering blocks and the deployment ...")
    processes.start(
        "worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", "this-machine"]
    )
    processes.run("blocks", ["deployments.register_blocks", "--examples"])
    if not wait("worker", lambda: _answers(api, f"/work_pools/{POOL}")):
        return False
    switched_on = {schedule["slug"] for schedule in schedules(api) if schedule["active"]}
    processes.run("deployment", ["prefect", "--no-prompt", "deploy", "--all"])
    switch_on(api, switched_on)  # deploying anew has set every schedule back to what prefect.yaml says
    check_registered(api)
    return wait("worker", lambda: _has_worker(api))


def _wait(what: str, is_so: Callable[[], bool], processes: ServedProcesses, stopped: threading.Event) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while not is_so():
        if stopped.wait(_POLL_S):
            return False
        processes.check()
        if time.monotonic() > end:
            raise StageFailed(f"The {what} was not ready within {_PATIENCE_S:.0f} s; see its log and try again.")
    return True


def _watch(processes: ServedProcesses, stopped: threading.Event) -> None:
    while not stopped.wait(_POLL_S):
        processes.check()


def _answers(api: httpx.Client, path: str) -> bool:
    try:
        return api.get(path).is_success
    except httpx.TransportError:
        return False


def check_registered(api: httpx.Client) -> None:
    """Refuse to serve without a deployment: a bad field makes Prefect skip it with only a warning.

    Raises
    ------
    StageFailed
        When one is not there.
    """
    missing = [name for name in (DEPLOYMENT, RELEASE_DEPLOYMENT) if not _answers(api, f"/deployments/name/{name}")]
    if missing:
        raise StageFailed(f"Not registered: {', '.join(missing)}; see prefect.yaml and the deployment log.")


def schedules(api: httpx.Client) -> list[dict[str, Any]]:
    """Return the deployment's schedules as the server knows them; none before it is deployed."""
    found = api.get(f"/deployments/name/{DEPLOYMENT}")
    schedules: list[dict[str, Any]] = found.json()["schedules"] if found.is_success else []
    return schedules


def switch_on(api: httpx.Client, slugs: set[str]) -> None:
    """Switch the deployment's schedules of these names on."""
    for schedule in schedules(api):
        if schedule["slug"] in slugs:
            path = f"/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}"
            api.patch(path, json={"active": True}).raise_for_status()


def _has_worker(api: httpx.Client) -> bool:
    workers = api.post(f"/work_pools/{POOL}/workers/filter", json={}).json()
    return any(worker["status"] == "ONLINE" for worker in workers)


def _environment(port: int, state: Path, reports_url: str) -> Mapping[str, str]:
    """Return an environment without the user's own Prefect settings: this server is the only one concerned."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(state),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PRESSRUN_REPORTS_URL": reports_url,
    }


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidJob(
                f"Port {port} cannot be used ({error.strerror}), perhaps another `make serve` runs; stop it or choose "
                f"another port: PRESSRUN_PORT={port + 100} make serve."
            ) from None


def _hold(state: Path) -> FileLock:
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InvalidJob(
            f"Another serve uses the folder {state}; stop it or choose another with PRESSRUN_STATE."
        ) from None
    return lock


def _welcome(port: int, state: Path, api: httpx.Client) -> None:
    deployment = api.get(f"/deployments/name/{DEPLOYMENT}").json()["id"]
    pages = f"http://127.0.0.1:{port}"
    out.rule("[bold]Pressrun is up")
    for line in (
        f"form   {pages}/deployments/deployment/{deployment}/run",
        f"pages  {pages}",
        f"API    PREFECT_API_URL={pages}/api",
        f"logs   {state / 'logs'}",
        "",
        "Open the form and press Submit: the example's pictures appear in out/, and the Artifacts tab of the run",
        "shows its progress, its pictures and its report. Ctrl-C stops everything.",
    ):
        out.print(line, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(app())
