"""Prefect's temporary server, started early beside other work and never left behind.

Knows nothing of flows. Prefect starts and stops the server itself; here it is only started sooner, and watched, so
that a kill -9 of this process does not leave it running.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import psutil


class TemporaryServer:
    """Starts Prefect's temporary server in the background, unless the user has a server."""

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._start, name="temporary-server", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the server answers; raise what kept it from starting."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        from prefect.server.api.server import SubprocessASGIServer
        from prefect.settings import PREFECT_API_URL

        if PREFECT_API_URL.value():
            return
        try:
            server = SubprocessASGIServer()
            server.start()
            if server.server_process is not None:
                _watch(server.server_process.pid)
        except Exception as error:
            self._error = error


def _watch(pid: int) -> None:
    """Have another process end `pid` when this one is gone, however it goes."""
    started = psutil.Process(pid).create_time()
    subprocess.Popen(
        [sys.executable, "-m", "deployments.watchdog", str(pid), repr(started)],
        stdin=subprocess.PIPE,  # its end is this process's end
        start_new_session=True,  # Ctrl-C is for this process, not for the watchdog
    )
