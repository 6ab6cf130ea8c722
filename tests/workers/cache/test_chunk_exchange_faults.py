"""Chunks between hosts of which one dies, stalls, lies, or does not belong."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workers.cache.chunk_hosts import TOKEN, ChunkHost, chunk_host, until
from tests.workers.cache.raw_peers import address_of, all_from, answering, overheard
from workers.cache import chunk_server
from workers.cache.chunk_client import ChunkClient, PeerRefused, PeerTimedOut
from workers.cache.chunk_protocol import Status, greet, receive_answer, send_request
from workers.cache.chunk_server import ChunkServer
from workers.cache.piece import Piece
from workers.cache.sockets import Deadline, connect, split_address

MIB = 2**20
NONCE_BYTES = 32
STRANGER = b"a token of quite another cluster"


@pytest.fixture
def held(tmp_path: Path) -> Piece:
    path = tmp_path / "weights"
    path.write_bytes(b"\1" * (8 * MIB))
    return Piece(path, 0, 8 * MIB)


@pytest.fixture
def slow_host(held: Piece) -> Iterator[ChunkHost]:
    """Serve a chunk in some four seconds."""
    with chunk_host({"held": held}, upload_bytes_per_s=2 * MIB) as host:
        yield host


@pytest.fixture
def client() -> Iterator[ChunkClient]:
    with ChunkClient(TOKEN) as client:
        yield client


def in_mid_chunk(
    client: ChunkClient, address: str, timeout_s: float, then: Callable[[], None], stall_s: float = math.inf
) -> None:
    """Fetch a chunk, and do `then` once its first bytes are here."""
    into = bytearray(8 * MIB)
    with ThreadPoolExecutor(1) as threads:
        fetch = threads.submit(client.fetch, address, "held", memoryview(into), timeout_s, stall_s)
        until(lambda: into[0] == 1)
        then()
        fetch.result()


def test_a_peer_killed_in_mid_chunk_is_told_at_once(slow_host: ChunkHost, client: ChunkClient) -> None:
    began = time.monotonic()
    with pytest.raises(PeerRefused, match=r"of 8,388,608 bytes|reset"):
        in_mid_chunk(client, slow_host.address, 60, slow_host.process.kill)
    assert time.monotonic() - began < 10
    with pytest.raises(PeerRefused):
        client.fetch(slow_host.address, "held", memoryview(bytearray(8 * MIB)), timeout_s=20)


def test_a_peer_that_stalls_in_mid_chunk_is_given_up_at_the_deadline(slow_host: ChunkHost, client: ChunkClient) -> None:
    began = time.monotonic()
    with pytest.raises(PeerTimedOut, match=r"of 8,388,608 bytes came in time"):
        in_mid_chunk(client, slow_host.address, 1, lambda: slow_host.process.send_signal(signal.SIGSTOP))
    assert 0.9 < time.monotonic() - began < 5


def test_a_peer_that_falls_silent_in_mid_chunk_is_given_up_long_before_the_deadline(
    slow_host: ChunkHost, client: ChunkClient
) -> None:
    began = time.monotonic()
    with pytest.raises(PeerTimedOut, match=r"0\.3 s without a byte"):
        in_mid_chunk(client, slow_host.address, 60, lambda: slow_host.process.send_signal(signal.SIGSTOP), 0.3)
    with pytest.raises(PeerTimedOut, match="does not answer"):  # nor is a new connection waited for
        client.fetch(slow_host.address, "held", memoryview(bytearray(8 * MIB)), timeout_s=60, stall_s=0.3)
    assert time.monotonic() - began < 5


def test_a_slow_peer_is_not_taken_for_a_silent_one(held: Piece, client: ChunkClient) -> None:
    into = bytearray(8 * MIB)
    with chunk_host({"held": held}, upload_bytes_per_s=4 * MIB) as host:
        began = time.monotonic()
        client.fetch(host.address, "held", memoryview(into), timeout_s=60, stall_s=1)
        assert time.monotonic() - began > 1.5
    assert into == held.path.read_bytes()


def test_a_peer_that_accepts_but_never_answers_is_given_up_at_the_deadline(client: ChunkClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PeerTimedOut, match="does not answer"):
            client.fetch(address_of(silent), "held", memoryview(bytearray(9)), timeout_s=0.3)
        assert time.monotonic() - began < 5


def test_a_kept_connection_to_a_stalled_peer_does_not_outlast_the_deadline(held: Piece, client: ChunkClient) -> None:
    into = memoryview(bytearray(8 * MIB))
    with chunk_host({"held": held}) as host:
        client.fetch(host.address, "held", into, timeout_s=20)
        host.process.send_signal(signal.SIGSTOP)
        with pytest.raises(PeerTimedOut):
            client.fetch(host.address, "held", into, timeout_s=0.3)


def test_a_file_cut_short_while_it_is_sent_ends_the_fetch_and_not_the_server(
    slow_host: ChunkHost, client: ChunkClient, held: Piece
) -> None:
    with pytest.raises(PeerRefused, match="of 8,388,608 bytes"):
        in_mid_chunk(client, slow_host.address, 60, lambda: os.truncate(held.path, MIB))
    os.truncate(held.path, 8 * MIB)
    with pytest.raises(PeerTimedOut):
        client.fetch(slow_host.address, "held", memoryview(bytearray(8 * MIB)), timeout_s=0.3)


def test_who_does_not_know_the_token_is_told_nothing(held: Piece, caplog: pytest.LogCaptureFixture) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server, ChunkClient(STRANGER) as stranger:
        for name in ("held", "absent"):
            with pytest.raises(PeerRefused, match="same token"):
                stranger.fetch(server.address, name, memoryview(bytearray(8 * MIB)), timeout_s=20)
        assert server.sent_bytes == 0
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(b"PRCHUNK1" + bytes(NONCE_BYTES) + bytes(NONCE_BYTES))
            assert len(all_from(raw)) == NONCE_BYTES
    assert "does not know this cluster's token" in caplog.text
    assert TOKEN.decode() not in caplog.text
    assert STRANGER.decode() not in caplog.text


def test_a_client_tells_nothing_to_a_server_that_does_not_know_the_token(client: ChunkClient) -> None:
    with answering(lambda raw: (raw.recv(40), raw.sendall(bytes(32)), raw.recv(32), raw.sendall(bytes(32)))) as (
        address,
        heard,
    ):
        with pytest.raises(PeerRefused, match="does not know this cluster's token"):
            client.fetch(address, "a-secret-id", memoryview(bytearray(9)), timeout_s=20)
    assert b"".join(heard) == b""


def test_what_was_heard_of_one_connection_opens_no_other(held: Piece, client: ChunkClient) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server:
        with overheard(server.address) as (address, said):
            client.fetch(address, "held", memoryview(bytearray(8 * MIB)), timeout_s=20)
            client.close()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(b"".join(said))
            assert len(all_from(raw)) == NONCE_BYTES


@pytest.mark.parametrize("forged", ["unsealed", "repeated"])
def test_who_only_passes_a_handshake_on_cannot_ask_for_chunks(held: Piece, forged: str) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server:
        deadline = Deadline(20)
        with connect(*split_address(server.address), deadline) as raw:
            session = greet(raw, TOKEN, deadline)
            request = b"\0\6absent" + (session.seal(b"absent") if forged == "repeated" else bytes(32))
            if forged == "repeated":
                raw.sendall(request)
                assert receive_answer(raw, deadline) == (Status.LACKS, 0)
            raw.sendall(request)
            assert all_from(raw) == b""


@pytest.mark.parametrize(
    "said",
    [
        os.urandom(5000),
        b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    ],
    ids=["noise", "http", "tls"],
)
def test_noise_on_the_wire_is_hung_up_on(held: Piece, client: ChunkClient, said: bytes) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(said)
            assert all_from(raw) == b""
        client.fetch(server.address, "held", memoryview(bytearray(8 * MIB)), timeout_s=20)


def test_a_port_scan_is_warned_of_once(held: Piece, caplog: pytest.LogCaptureFixture) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server, caplog.at_level(logging.DEBUG, chunk_server.__name__):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
                raw.sendall(b"GET / HT")
                assert all_from(raw) == b""
    levels = [record.levelno for record in caplog.records if "does not speak the protocol" in record.getMessage()]
    assert levels == [logging.WARNING] + 4 * [logging.DEBUG]


@pytest.mark.parametrize("request_bytes", [b"\0\0", b"\xff\xff" + bytes(600), b"\0\2\xff\xfe"])
def test_requests_beyond_all_bounds_are_hung_up_on(held: Piece, request_bytes: bytes) -> None:
    with ChunkServer({"held": held}.get, TOKEN) as server:
        deadline = Deadline(20)
        with connect(*split_address(server.address), deadline) as raw:
            session = greet(raw, TOKEN, deadline)
            raw.sendall(request_bytes + session.seal(request_bytes[2:]))
            assert all_from(raw) == b""


def test_a_peer_that_answers_noise_is_refused(client: ChunkClient) -> None:
    with answering(lambda raw: raw.sendall(os.urandom(5000))) as (address, _):
        with pytest.raises(PeerRefused):
            client.fetch(address, "held", memoryview(bytearray(9)), timeout_s=20)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:x", ":80", "", "a" * 300 + ":80", "no.such.host.invalid:80"]
)
def test_an_address_that_is_none_is_a_refusal(client: ChunkClient, address: str) -> None:
    with pytest.raises(PeerRefused):
        client.fetch(address, "held", memoryview(bytearray(9)), timeout_s=20)


def test_who_does_not_finish_the_handshake_is_hung_up_on(held: Piece) -> None:
    class Impatient(ChunkServer):
        handshake_s = 0.1

    with Impatient({"held": held}.get, TOKEN) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.sendall(b"PRCH")
            assert all_from(raw) == b""


def test_who_stops_reading_gives_his_upload_free(held: Piece, client: ChunkClient) -> None:
    class Impatient(ChunkServer):
        stall_s = 0.2

    deadline = Deadline(20)
    with Impatient({"held": held}.get, TOKEN, uploads=1) as server:
        with connect(*split_address(server.address), deadline, paced=True) as raw:
            session = greet(raw, TOKEN, deadline)
            for _ in range(3):  # more than the system takes in on its own
                send_request(raw, session, "held", deadline)
            assert receive_answer(raw, deadline) == (Status.HERE, 8 * MIB)
            until(lambda: fetches(client, server.address))


def test_a_fault_in_looking_a_chunk_up_ends_one_connection_only(
    held: Piece, client: ChunkClient, caplog: pytest.LogCaptureFixture
) -> None:
    def find(name: str) -> Piece | None:
        return held if name == "held" else {}[name]

    into = memoryview(bytearray(8 * MIB))
    with ChunkServer(find, TOKEN) as server, caplog.at_level(logging.ERROR):
        with pytest.raises(PeerRefused):
            client.fetch(server.address, "faulty", into, timeout_s=20)
        client.fetch(server.address, "held", into, timeout_s=20)
    assert "a fault of its own" in caplog.text


def fetches(client: ChunkClient, address: str) -> bool:
    try:
        client.fetch(address, "held", memoryview(bytearray(8 * MIB)), timeout_s=20)
    except PeerRefused:
        return False
    return True
