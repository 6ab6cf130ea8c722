"""What the tests share: a home of their own, one real Prefect server, one real S3 server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

import httpx
import pytest

from tests.home import HOME  # first of all: Prefect reads its settings when it is imported
from tests.s3_server import s3_server
from tests.served import served, tell_the_rest

__all__ = ["s3_server", "served"]
_START_TIMEOUT_S = 180


def pytest_unconfigure(config: pytest.Config) -> None:
    # Later than multiprocessing removes what it keeps there itself.
    Finalize(None, shutil.rmtree, args=(HOME,), kwargs={"ignore_errors": True}, exitpriority=-200)


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """Run the session's real Prefect server, to which every flow of a test reports, and give its address."""
    url = os.environ["PREFECT_API_URL"]
    port = url.removesuffix("/api").rpartition(":")[2]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    log = HOME / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        await_health(url, server, log)
        yield url
    finally:
        if "prefect" in sys.modules:
            tell_the_rest()
        server.terminate()
        server.wait(timeout=30)


def await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    gives_up = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < gives_up:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    server.kill()
    raise RuntimeError(f"the Prefect server did not start: {log.read_text(errors='replace')[-2000:]}")
