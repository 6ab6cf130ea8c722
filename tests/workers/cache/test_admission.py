"""A chunk server under connections that prove nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.workers.cache.chunk_hosts import TOKEN, until
from workers.cache.chunk_client import ChunkClient
from workers.cache.chunk_server import ChunkServer
from workers.cache.piece import Piece


def test_many_who_prove_nothing_keep_no_host_out_and_cut_none_that_is_in(tmp_path: Path) -> None:
    class Small(ChunkServer):
        connections, unproved, handshake_s = 2, 4, 60.0

    path, into = tmp_path / "weights", memoryview(bytearray(9))
    path.write_bytes(b"123456789")
    with (
        Small({"held": Piece(path, 0, 9)}.get, TOKEN) as server,
        ChunkClient(TOKEN) as early,
        ChunkClient(TOKEN) as late,
        ExitStack() as silent,
    ):
        early.fetch(server.address, "held", into, timeout_s=20)
        before = uploads()
        crowd = [silent.enter_context(socket.create_connection(("127.0.0.1", server.port), 20)) for _ in range(16)]
        late.fetch(server.address, "held", into, timeout_s=20)
        assert bytes(into) == b"123456789"
        assert crowd[0].recv(1) == b""  # the oldest made room
        until(lambda: len(uploads()) <= 2 + 4)
        assert before <= uploads()


def uploads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "chunk-upload"}
