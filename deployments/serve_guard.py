"""Ends the processes of `make serve`: `python -m deployments.serve_guard MARK`, with process ids on standard input.

Knows nothing of what they are. The end of its input is the signal, so a killed owner is noticed as well as a stopped
one. Whatever still carries the owner's mark in its environment at the end is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from deployments.served_processes import MARK

_GRACE_S = 40.0  # Prefect's worker gives a flow run 30 s to tear down
_POLL_S = 0.1


def main(mark: str) -> None:
    """Wait for the owner's end, then end its processes, last started first."""
    pids = [int(line) for line in sys.stdin]
    marked = {process.pid: process for process in _marked(mark)}
    for pid in reversed(pids):
        if pid in marked:
            _end(marked[pid])
    for process in _marked(mark):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        give_up_at = time.monotonic() + _GRACE_S
        # A zombie has ended; its parent may be too busy, or too dead, to notice.
        while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < give_up_at:
            time.sleep(_POLL_S)


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
