"""Prefect's temporary server, started early beside other work, unless the user has a server.

Knows nothing of flows, nor of how the server is kept from being left behind.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_API_URL

if TYPE_CHECKING:
    from prefect.server.api.server import SubprocessASGIServer


class TemporaryServer:
    """Starts Prefect's temporary server in the background, unless the user has a server."""

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        if PREFECT_API_URL.value():
            return
        from deployments.watched_server import WatchedServer  # all of Prefect's server: seconds

        self._thread = threading.Thread(
            target=self._start, args=(WatchedServer(),), name="temporary-server", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return once the server answers; raise what kept it from starting."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _start(self, server: SubprocessASGIServer) -> None:
        try:
            server.start()
        except Exception as error:
            self._error = error
