"""The processes of `make serve`: started with one environment, logged to files, never left behind.

Knows nothing of what they are. A guard process ends them, be this process stopped or killed.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pressrun.errors import StageFailed

MARK = "PRESSRUN_SERVED_BY"  # in the environment of all processes and of their children; the guard looks for it
_LAST_LINES = 15


class ServedProcesses:
    """Processes that end, last started first, when this object is closed or its process is gone.

    Parameters
    ----------
    folder : Path
        Where they work.
    logs : Path
        Folder for their output.
    environment : mapping
        Their whole environment.
    """

    def __init__(self, folder: Path, logs: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex
        self._environment = {**environment, MARK: mark}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "deployments.serve_guard", mark],
            cwd=folder,
            stdin=subprocess.PIPE,  # its end is this process's end
            start_new_session=True,  # Ctrl-C is for this process, not for the guard
            text=True,
        )

    def __enter__(self) -> ServedProcesses:
        """Return the object."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes and wait for it."""
        self._guard.communicate()
        for process in self._running.values():
            process.wait()  # they have ended; this takes note of it

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start `python -m arguments...` in the background."""
        process = self._popen(name, arguments)
        self._running[name] = process
        assert self._guard.stdin is not None, "the guard was started with a pipe"
        self._guard.stdin.write(f"{process.pid}\n")
        self._guard.stdin.flush()

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run `python -m arguments...` to its end.

        Raises
        ------
        StageFailed
            When it fails.
        """
        if self._popen(name, arguments).wait():
            raise StageFailed(self._story(name, "failed"))

    def check(self) -> None:
        """Raise StageFailed if a background process has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise StageFailed(self._story(name, f"ended with exit code {process.returncode}"))

    def _popen(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _story(self, name: str, what: str) -> str:
        log = self._logs / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join([f"The {name} process {what}; the end of its log {log}:", *(f"  {line}" for line in lines)])
