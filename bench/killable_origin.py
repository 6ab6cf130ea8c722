"""The benchmarks' bucket as a process that can be killed and started again at the same address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from bench.throttled_origin import ThrottledOrigin


class KillableOrigin:
    """Serves a folder; a context manager.

    Parameters
    ----------
    folder : Path
        Its files are the bucket's objects, below "model/".
    bytes_per_s : float
        Bandwidth of all connections together.
    host : str
        Address at which it listens.
    """

    def __init__(self, folder: Path, bytes_per_s: float, host: str) -> None:
        self._folder, self._bytes_per_s, self._host, self._port = folder, bytes_per_s, host, 0

    def __enter__(self) -> KillableOrigin:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.kill()

    def start(self) -> None:
        """Start it, at its old port if it had one."""
        arguments = [str(self._folder), str(self._bytes_per_s), "0.0", self._host, str(self._port)]
        command = [sys.executable, "-m", "bench.throttled_server", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
        assert self._process.stdout is not None
        self.running = ThrottledOrigin(self._process.stdout.readline().strip(), self._bytes_per_s)
        self._port = urlsplit(self.running.endpoint_url).port or 0

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


__all__ = ["KillableOrigin"]
