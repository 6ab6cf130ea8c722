"""Ends the processes of `make serve`: `python -m deployments.serve_guard MARK`, with process ids on standard input.

Knows nothing of what they are. The end of its input is the signal, so a killed owner is noticed as well as a stopped
one. Whatever still carries the owner's mark in its environment at the end is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil

from deployments.served_processes import MARK

_GRACE_S = 30.0  # a flow run tears down in 25 s
_POLL_S = 0.1


def main(mark: str) -> None:
    """Wait for the owner's end, then end its processes: flow runs first, then the others, last started first."""
    pids = [int(line) for line in sys.stdin]
    marked = {process.pid: process for process in _marked(mark)}
    # Flow runs lead process groups of their own. They go first, so that they can tear down with a server to report to.
    _end([process for pid, process in marked.items() if pid not in pids and os.getpgid(pid) == pid])
    for pid in reversed(pids):
        _end([marked[pid]] if pid in marked else [])
    for process in _marked(mark):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _end(processes: Sequence[psutil.Process]) -> None:
    """Ask the processes to end, and wait for it."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    give_up_at = time.monotonic() + _GRACE_S
    while any(map(_is_alive, processes)) and time.monotonic() < give_up_at:
        time.sleep(_POLL_S)


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; its parent may be too busy, or too dead, to notice.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.AccessDenied, psutil.NoSuchProcess):  # another user's, or ended meanwhile
            if process.environ().get(MARK) == mark:
                yield process


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # only the owner's end counts
    os.chdir("/")
    main(sys.argv[1])
