"""A bucket with a known, limited bandwidth: what the benchmarks of the model cache read from.

Knows nothing of who reads. It is served by a process of its own, `bench.throttled_server`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUCKET = "models"
STATS_PATH = "/_stats"


@dataclass(frozen=True, slots=True)
class Served:
    """What a bucket has given so far.

    Parameters
    ----------
    body_bytes : int
        Bytes of file contents, those of broken-off answers included.
    requests : int
        Requests, refused ones included.
    refused : int
        Requests answered 503.
    """

    body_bytes: int = 0
    requests: int = 0
    refused: int = 0

    def __sub__(self, other: Served) -> Served:
        """Return what was given since."""
        return Served(self.body_bytes - other.body_bytes, self.requests - other.requests, self.refused - other.refused)


@dataclass(frozen=True, slots=True)
class ThrottledOrigin:
    """A running bucket.

    Parameters
    ----------
    endpoint_url : str
        Address of its server.
    bytes_per_s : float
        Bandwidth of all connections together.
    """

    endpoint_url: str
    bytes_per_s: float

    @property
    def url(self) -> str:
        """The served folder's URL."""
        return f"s3://{BUCKET}/model"

    @property
    def options(self) -> dict[str, object]:
        """Options that open it by s3fs."""
        return {"key": "bench", "secret": "bench", "endpoint_url": self.endpoint_url}

    def served(self) -> Served:
        """Return what it has given since it started."""
        with urllib.request.urlopen(self.endpoint_url + STATS_PATH, timeout=10) as answer:
            return Served(**json.load(answer))


@contextmanager
def throttled_origin(
    folder: Path, bytes_per_s: float, refused_share: float = 0.0, host: str = "127.0.0.1", port: int = 0
) -> Iterator[ThrottledOrigin]:
    """Serve a folder until the block ends.

    Parameters
    ----------
    folder : Path
        Its files are the bucket's objects, below "model/".
    bytes_per_s : float
        Bandwidth of all connections together.
    refused_share : float
        Share of requests that are answered 503.
    host : str
        Address at which it listens.
    port : int
        And its port; 0 has the system choose.
    """
    arguments = [str(folder), str(bytes_per_s), str(refused_share), host, str(port)]
    command = [sys.executable, "-m", "bench.throttled_server", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    try:
        endpoint_url = process.stdout.readline().strip()
        if not endpoint_url:
            raise RuntimeError(f"the origin of {folder} did not start; its error stands above")
        yield ThrottledOrigin(endpoint_url, bytes_per_s)
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


__all__ = ["BUCKET", "STATS_PATH", "Served", "ThrottledOrigin", "throttled_origin"]
