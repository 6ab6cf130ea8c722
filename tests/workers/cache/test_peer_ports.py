from __future__ import annotations

import pytest

from workers.cache.chunk_server import ChunkServer
from workers.cache.peer_ports import PORT_VARIABLE


def serve() -> ChunkServer:
    return ChunkServer(lambda chunk_id: None, bytes(32))


def test_chunks_are_served_at_the_ports_that_a_firewall_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as anywhere:
        port = anywhere.port
    monkeypatch.setenv(PORT_VARIABLE, f"{port}:{port + 20}")
    with serve() as first, serve() as second:
        assert port <= first.port < second.port <= port + 20
        monkeypatch.setenv(PORT_VARIABLE, str(first.port))
        with pytest.raises(OSError, match="is taken on this host"):
            serve()


@pytest.mark.parametrize("text", ["many", "8799:8790", "0", "70000", "8790-8799"])
def test_what_names_no_ports_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(PORT_VARIABLE, text)
    with pytest.raises(ValueError, match="write it as 8790 or 8790:8799"):
        serve()
