"""Chunks between hosts that do as they should."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed.security import Security

from tests.workers.cache.chunk_hosts import TOKEN, ChunkHost, chunk_host, until
from workers.cache.chunk_client import ChunkClient, PeerBusy, PeerLacks, PeerRefused
from workers.cache.chunk_server import ChunkServer
from workers.cache.piece import Piece

MIB = 2**20
BYTES = os.urandom(9 * MIB + 5)
PLACES = {"one": (17, 1), "odd": (4099, 70_001), "large": (5, 9 * MIB), "sub-0/ü": (0, MIB)}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Piece]:
    path = tmp_path_factory.mktemp("held") / "weights"
    path.write_bytes(BYTES)
    return {name: Piece(path, start, size) for name, (start, size) in PLACES.items()}


@pytest.fixture(scope="module")
def host(pieces: dict[str, Piece]) -> Iterator[ChunkHost]:
    with chunk_host(pieces) as host:
        yield host


@pytest.fixture
def client() -> Iterator[ChunkClient]:
    with ChunkClient(TOKEN) as client:
        yield client


def fetched(client: ChunkClient, address: str, name: str) -> bytearray:
    into = bytearray(PLACES[name][1])
    client.fetch(address, name, memoryview(into), timeout_s=20)
    return into


def expected(name: str) -> bytes:
    start, size = PLACES[name]
    return BYTES[start : start + size]


def test_chunks_of_every_size_arrive_as_they_are_one_after_another(host: ChunkHost, client: ChunkClient) -> None:
    for name in [*PLACES, *reversed(PLACES)]:
        assert fetched(client, host.address, name) == expected(name)


def test_a_chunk_that_is_not_there_is_told_so_and_the_next_one_still_comes(
    host: ChunkHost, client: ChunkClient
) -> None:
    with pytest.raises(PeerLacks, match="Chunk absent"):
        client.fetch(host.address, "absent", memoryview(bytearray(9)), timeout_s=20)
    assert fetched(client, host.address, "odd") == expected("odd")


def test_a_chunk_of_another_size_is_refused_with_both_numbers(host: ChunkHost, client: ChunkClient) -> None:
    with pytest.raises(PeerRefused, match=r"70,001 bytes there, 70,000 are"):
        client.fetch(host.address, "odd", memoryview(bytearray(70_000)), timeout_s=20)
    assert fetched(client, host.address, "odd") == expected("odd")


def test_chunks_land_in_their_place_in_a_mapped_file(host: ChunkHost, client: ChunkClient, tmp_path: Path) -> None:
    path = tmp_path / "weights.partial"
    path.write_bytes(bytes(100_000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped, memoryview(mapped) as whole:
        with whole[1000:71_001] as into:
            client.fetch(host.address, "odd", into, timeout_s=20)
        with whole[:9] as into, pytest.raises(PeerRefused):
            client.fetch(host.address, "odd", into, timeout_s=20)
    assert path.read_bytes() == bytes(1000) + expected("odd") + bytes(28_999)


def test_many_threads_fetch_at_once(host: ChunkHost, client: ChunkClient) -> None:
    names = ["odd", "one", "sub-0/ü"] * 20
    with ThreadPoolExecutor(8) as threads:
        came = list(threads.map(lambda name: fetched(client, host.address, name), names))
    assert came == [expected(name) for name in names]


def test_serving_does_not_take_memory(host: ChunkHost, client: ChunkClient) -> None:
    fetched(client, host.address, "large")
    before = host.memory_bytes
    into = memoryview(bytearray(PLACES["large"][1]))
    for _ in range(10):
        client.fetch(host.address, "large", into, timeout_s=20)
    assert host.memory_bytes < before + 2 * MIB


def test_a_cluster_with_tls_has_its_chunks_by_tls(pieces: dict[str, Piece]) -> None:
    security = Security.temporary()
    tls = {name: getattr(security, name) for name in ("tls_ca_file", "tls_worker_cert", "tls_worker_key")}
    context = security.get_connection_args("worker")["ssl_context"]
    with chunk_host(pieces, tls=tls) as host, ChunkClient(TOKEN, context) as client, ChunkClient(TOKEN) as plain:
        for name in PLACES:
            assert fetched(client, host.address, name) == expected(name)
        with pytest.raises(PeerRefused):
            fetched(plain, host.address, "one")
        stranger = Security.temporary().get_connection_args("worker")["ssl_context"]
        with ChunkClient(TOKEN, stranger) as other, pytest.raises(PeerRefused):
            fetched(other, host.address, "one")


def test_no_more_than_the_uploads_allowed_are_served_at_a_time(pieces: dict[str, Piece], client: ChunkClient) -> None:
    with ChunkServer(pieces.get, TOKEN, uploads=1, upload_bytes_per_s=2 * MIB) as server:
        into = bytearray(PLACES["large"][1])
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(client.fetch, server.address, "large", memoryview(into), 20)
            until(lambda: server.sent_bytes > 0)
            with pytest.raises(PeerBusy):
                fetched(client, server.address, "one")
            client.close()
            with pytest.raises(PeerRefused):
                first.result()


@pytest.mark.parametrize("host_name", ["::1", "localhost", ""])
def test_hosts_are_reached_by_ip_address_of_either_kind_and_by_name(
    pieces: dict[str, Piece], client: ChunkClient, host_name: str
) -> None:
    with ChunkServer(pieces.get, TOKEN, host=host_name) as server:
        assert fetched(client, server.address, "odd") == expected("odd")


def test_a_server_listens_at_its_own_address_only(pieces: dict[str, Piece], client: ChunkClient) -> None:
    with ChunkServer(pieces.get, TOKEN, host="127.0.0.2") as server:
        assert fetched(client, server.address, "one") == expected("one")
        with pytest.raises(PeerRefused):
            fetched(client, f"127.0.0.1:{server.port}", "one")


def test_the_longest_idle_connection_makes_room_and_is_made_again_unnoticed(pieces: dict[str, Piece]) -> None:
    class Small(ChunkServer):
        connections = 1

    with Small(pieces.get, TOKEN) as server, ChunkClient(TOKEN) as one, ChunkClient(TOKEN) as other:
        for client in [one, other, one, other]:
            assert fetched(client, server.address, "odd") == expected("odd")


def test_a_kept_connection_that_the_server_closed_is_made_again_unnoticed(
    pieces: dict[str, Piece], client: ChunkClient
) -> None:
    class Impatient(ChunkServer):
        idle_s = 0.05

    with Impatient(pieces.get, TOKEN) as server:
        for _ in range(3):
            assert fetched(client, server.address, "odd") == expected("odd")
            until(lambda: not uploads_under_way())


def test_only_a_few_idle_connections_are_kept(pieces: dict[str, Piece], client: ChunkClient) -> None:
    with ChunkServer(pieces.get, TOKEN, uploads=8, upload_bytes_per_s=16 * MIB) as server:
        with ThreadPoolExecutor(8) as threads:
            came = list(threads.map(lambda name: fetched(client, server.address, name), ["sub-0/ü"] * 8))
        assert came == [expected("sub-0/ü")] * 8
        until(lambda: 1 <= len(uploads_under_way()) <= 4)


@pytest.mark.parametrize("capped", ["upload", "download"])
def test_transfers_share_a_capped_link(pieces: dict[str, Piece], capped: str) -> None:
    rate = 4 * MIB
    up, down = (rate, None) if capped == "upload" else (None, rate)
    with (
        ChunkServer(pieces.get, TOKEN, upload_bytes_per_s=up) as server,
        ChunkClient(TOKEN, download_bytes_per_s=down) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        began = time.monotonic()
        came = list(threads.map(lambda name: fetched(client, server.address, name), ["sub-0/ü"] * 2))
        took_s = time.monotonic() - began
    assert came == [expected("sub-0/ü")] * 2
    assert 0.3 < took_s < 5  # 0.5 s, less what may be caught up


def test_sent_bytes_are_counted(pieces: dict[str, Piece], client: ChunkClient) -> None:
    with ChunkServer(pieces.get, TOKEN) as server:
        fetched(client, server.address, "odd")
        fetched(client, server.address, "one")
        until(lambda: server.sent_bytes == 70_002)


def test_closing_ends_every_thread_and_nobody_answers_any_more(pieces: dict[str, Piece], client: ChunkClient) -> None:
    server = ChunkServer(pieces.get, TOKEN)
    fetched(client, server.address, "one")
    server.close()
    server.close()
    assert not uploads_under_way()
    with pytest.raises(PeerRefused):
        fetched(client, server.address, "one")


def test_a_token_that_keeps_nobody_out_is_refused(pieces: dict[str, Piece]) -> None:
    with pytest.raises(ValueError, match="has 5 bytes and needs 16"):
        ChunkServer(pieces.get, b"short")
    with pytest.raises(ValueError, match="has 0 bytes"):
        ChunkClient(b"")


def test_a_file_that_went_away_is_a_chunk_that_is_not_there(tmp_path: Path, client: ChunkClient) -> None:
    short = tmp_path / "short"
    short.write_bytes(bytes(100))
    pieces = {"gone": Piece(tmp_path / "gone", 0, 10), "short": Piece(short, 50, 51)}
    with ChunkServer(pieces.get, TOKEN) as server:
        for name, piece in pieces.items():
            with pytest.raises(PeerLacks):
                client.fetch(server.address, name, memoryview(bytearray(piece.size_bytes)), timeout_s=20)


def uploads_under_way() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "chunk-upload"]
