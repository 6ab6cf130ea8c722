"""A real S3 API server in a process of its own, for tests of every part that reads or writes a bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import IO

import pytest
import s3fs

_READY = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_NUMBERS = count()


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    storage_options: dict[str, object] = field(repr=False)

    def make_bucket(self) -> str:
        """Create an empty bucket and return its s3:// URL."""
        name = f"bucket-{next(_NUMBERS)}"
        s3fs.S3FileSystem(**self.storage_options).mkdir(name)
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    # Port 0 and the address from the server's own log: no port to race for, no polling.
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    drain = None
    try:
        url = _address(process.stderr)
        options: dict[str, object] = {
            "key": "test",
            "secret": "test-secret",
            "endpoint_url": url,
            "use_listings_cache": False,
        }
        drain = Thread(target=deque, args=(process.stderr, 0))  # a full pipe would stop the server
        drain.start()
        yield S3Server(url, options)
    finally:
        process.terminate()
        process.wait(timeout=20)
        if drain:
            drain.join(timeout=20)
        process.stderr.close()


def _address(log: IO[str]) -> str:
    lines = []
    for line in log:
        lines.append(line)
        if found := _READY.search(line):
            return found[1]
    raise RuntimeError(f"the S3 server did not start: {''.join(lines)}")
