"""Prefect's temporary server, never left behind.

Knows nothing of who waits for it. Prefect finds, uses and stops the server as one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import prefect
from prefect.context import get_settings_context
from prefect.server.api.server import SubprocessASGIServer

_APPLICATION = "prefect.server.api.server:create_app"


class WatchedServer(SubprocessASGIServer):
    """The server that Prefect would start, in a session of its own, and run by a watchdog.

    Prefect keeps one such server a process and takes this one for it. Ctrl-C is for the run, which still has to report
    its end to the server; a kill -9 of the run, even while the server starts, is noticed by the watchdog.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[bytes]:
        settings = get_settings_context().settings.to_environment_variables(exclude_unset=True)
        marks = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        python = [sys.executable, "-m"]
        application = ["--app-dir", str(Path(prefect.__file__).parent.parent), "--factory", _APPLICATION]
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        server = [*python, "uvicorn", *application, *address, "--log-level", "error", "--lifespan", "on"]
        return subprocess.Popen(
            [*python, "deployments.watchdog", *server],
            env={**os.environ, **marks, **settings},
            stdin=subprocess.PIPE,  # its end is this process's end
            start_new_session=True,  # Ctrl-C is for this process
        )
