"""The server that Prefect starts when a user has none: there in time, and gone however the command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments.temporary_server import TemporaryServer
from tests import runs


def servers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "uvicorn" in runs.command_of(child)]


def start_alone(tmp_path: Path, images: int) -> subprocess.Popen[str]:
    """Start the command line as somebody who has no Prefect server."""
    file = runs.prompt_file(tmp_path, runs.prompts(images))
    options = runs.quick_options(tmp_path / "out", engine="tests.engines:slow")
    home = {"PREFECT_HOME": str(tmp_path / "new" / "home")}
    return runs.start(None, "generate", file, *options, env=home, start_new_session=True)


def test_none_is_started_for_somebody_who_has_a_server() -> None:
    before = runs.descendants()
    TemporaryServer().wait()  # the tests have one
    assert runs.descendants() == before


@pytest.mark.slow
def test_it_ends_with_a_command_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    command = start_alone(tmp_path, 2)
    runs.catch(command, lambda: servers(command), "the server's process")
    family = psutil.Process(command.pid).children(recursive=True)
    command.kill()
    command.communicate()
    assert not psutil.wait_procs(family, timeout=30)[1]


@pytest.mark.slow
def test_ctrl_c_stops_the_run_first_and_the_server_after_it(tmp_path: Path) -> None:
    command = start_alone(tmp_path, 40)
    runs.catch(command, lambda: list(tmp_path.glob("out/receipts/*.parquet")), "the first receipt")
    family = psutil.Process(command.pid).children(recursive=True)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "Traceback" not in said
    assert "goes on from here" in said
    assert not psutil.wait_procs(family, timeout=30)[1]
    assert not (tmp_path / "out" / "writer.json").exists()


def watched(code: str) -> subprocess.Popen[str]:
    """Run a Python program under the watchdog, which is followed by its output."""
    command = [sys.executable, "-m", "deployments.watchdog", sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=runs.ROOT, **pipes)


@pytest.mark.parametrize("stubborn", [False, True], ids=["that obeys", "that ignores being asked"])
@pytest.mark.parametrize("how", ["its owner's end", "being asked"])
def test_the_watchdog_ends_its_command(how: str, stubborn: bool) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    with watched(f"{deaf}import os, time; print(os.getpid(), flush=True); time.sleep(60)") as dog:
        assert dog.stdin is not None
        assert dog.stdout is not None
        command = psutil.Process(int(dog.stdout.readline()))
        dog.stdin.close() if how == "its owner's end" else dog.terminate()
        assert dog.wait(timeout=30) != 0
        assert not command.is_running()


def test_the_watchdog_ends_as_its_command_ends() -> None:
    with watched("raise SystemExit(3)") as dog:
        assert dog.wait(timeout=30) == 3
