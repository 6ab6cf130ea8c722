"""One measured run of one system, in a process of its own.

Knows nothing of the systems. A process is timed from its start to its end, and its memory is watched meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.machine import cores

ROOT = Path(__file__).parent.parent
_LOOK_S = 0.25
_LOOK_AT_ALL_S = 1.0
_QUIET_FOR_S = 3.0
_QUIET_PERCENT = 12.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended well.

    Parameters
    ----------
    wall_s : float
        From its start to its end.
    driver_bytes : int
        Most memory of the process itself, the one that plans and gathers.
    all_bytes : int
        Most memory of it and all its descendants together; pages they share count for each.
    cpu_s : float
        Processor seconds of them all, as far as they were seen.
    foreign_share : float
        Share of the machine's cores that other processes took meanwhile; above a few hundredths the times are spoilt.
    output : str
        What it wrote to its standard output.
    """

    wall_s: float
    driver_bytes: int
    all_bytes: int
    cpu_s: float
    foreign_share: float
    output: str


class TrialFailed(Exception):
    """A system could not do its work; the message holds the end of what it said."""


def run_process(command: Sequence[str], log: Path, changes: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end, in the repository's root.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    log : Path
        Where its standard error goes.
    changes : mapping
        Environment variables to set.

    Raises
    ------
    TrialFailed
        When it ends with another code than 0.
    """
    environment = os.environ | {"PYTHONPATH": _python_path()} | dict(changes or {})
    await_quiet()
    started, busy_before_s = time.perf_counter(), _busy_s()
    with log.open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        with _Watch(process.pid) as watch:
            output, _ = process.communicate()
    wall_s = time.perf_counter() - started
    if process.returncode != 0:
        raise TrialFailed(f"{' '.join(command[:4])} ended with {process.returncode}: {log.read_text()[-2000:]}")
    foreign_s = max(0.0, _busy_s() - busy_before_s - watch.cpu_s)
    return Finished(wall_s, watch.driver_bytes, watch.all_bytes, watch.cpu_s, foreign_s / (wall_s * cores()), output)


def run_rival(module: str, settings: Mapping[str, object], folder: Path) -> tuple[Finished, dict[str, Any]]:
    """Run one of `bench.rivals` as a process of its own.

    Parameters
    ----------
    module : str
        Its module's name below `bench.rivals`.
    settings : mapping
        What it is to do.
    folder : Path
        Where its settings, result and log lie.

    Returns
    -------
    Finished
        Times and memory as seen from outside.
    dict
        What it says of itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    files = [str(folder / "settings.json"), str(folder / "result.json")]
    finished = run_process([sys.executable, "-m", f"bench.rivals.{module}", *files], folder / "log.txt")
    return finished, json.loads((folder / "result.json").read_text())


def await_quiet() -> None:
    """Wait until other processes leave the cores alone, for PRESSRUN_BENCH_PATIENCE_S at most."""
    gives_up = time.monotonic() + float(os.environ.get("PRESSRUN_BENCH_PATIENCE_S", "0"))
    while time.monotonic() < gives_up and psutil.cpu_percent(_QUIET_FOR_S) > _QUIET_PERCENT:
        continue


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


class _Watch:
    """Looks at the memory of a process and its descendants until it is left."""

    def __init__(self, pid: int) -> None:
        self.driver_bytes = self.all_bytes = 0
        self._process = psutil.Process(pid)
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def cpu_s(self) -> float:
        """Processor seconds seen so far, those of processes that have ended included."""
        return sum(self._cpu_s.values())

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looked_at_all = 0.0
        while not self._over.wait(_LOOK_S):
            with suppress(psutil.Error):
                self.driver_bytes = max(self.driver_bytes, self._process.memory_info().rss)
            if time.monotonic() - looked_at_all > _LOOK_AT_ALL_S:
                looked_at_all = time.monotonic()
                self.all_bytes = max(self.all_bytes, self._all_now())

    def _all_now(self) -> int:
        total = 0
        with suppress(psutil.Error):
            for process in (self._process, *self._process.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
                    times = process.cpu_times()
                    self._cpu_s[process.pid, process.create_time()] = times.user + times.system
        return total
