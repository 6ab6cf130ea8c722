"""Hosts that serve chunks, each a process of its own; run as a program, this module is one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from workers.cache.chunk_server import ChunkServer
from workers.cache.piece import Piece

TOKEN = b"a token of the tests' own cluster"
_REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class ChunkHost:
    address: str
    process: psutil.Popen

    @property
    def memory_bytes(self) -> int:
        return self.process.memory_info().rss


@contextmanager
def chunk_host(
    pieces: Mapping[str, Piece],
    tls: Mapping[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
    **options: Any,
) -> Iterator[ChunkHost]:
    """Serve `pieces` until the end of the block; `limits` are attributes of the server's class, `options` its own."""
    told = {
        "pieces": {name: (str(piece.path), piece.start, piece.size_bytes) for name, piece in pieces.items()},
        "tls": tls,
        "limits": limits or {},
        "options": options,
    }
    command = [sys.executable, "-m", "tests.workers.cache.chunk_hosts"]
    with psutil.Popen(command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            yield ChunkHost(process.stdout.readline().strip(), process)
        finally:
            process.kill()


def until(holds: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait for something to come about."""
    gives_up = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < gives_up, "what was waited for did not come about"
        time.sleep(0.01)


def _serve(told: dict[str, Any]) -> None:
    pieces = {name: Piece(Path(path), start, size) for name, (path, start, size) in told["pieces"].items()}
    context = None
    if told["tls"]:
        from distributed.security import Security

        context = Security(require_encryption=True, **told["tls"]).get_listen_args("worker")["ssl_context"]
    limited = type("Limited", (ChunkServer,), told["limits"])
    with limited(pieces.get, TOKEN, context, **told["options"]) as server:
        print(server.address, flush=True)
        sys.stdin.read()  # until who started it is gone


if __name__ == "__main__":
    _serve(json.loads(sys.stdin.readline()))
