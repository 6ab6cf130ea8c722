"""A home of the tests' own, made when this module is imported: nobody's Prefect, cache or folder is touched."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """Return a port that is free, the next one too, of those that no system hands out by itself: they stay free."""
    while True:
        port = random.SystemRandom().randrange(12_000, 30_000)
        with (
            suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_server(("127.0.0.1", port + 1)),
        ):
            return port


def prepare_home() -> Path:
    """Give this process, and all that it starts, a home and a Prefect server of their own."""
    home = Path(tempfile.mkdtemp(prefix="pressrun-tests-"))
    os.environ |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # else all would use every core at once
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    tempfile.tempdir = str(home)
    return home


HOME = prepare_home()
