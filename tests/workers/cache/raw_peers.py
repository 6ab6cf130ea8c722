"""Peers that speak over plain sockets: one that says what a test likes, and one that only passes on and listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.cache.sockets import Deadline, connect, split_address


def all_from(raw: socket.socket) -> bytes:
    """Return what comes until the other side hangs up."""
    came = b""
    try:
        while more := raw.recv(65536):
            came += more
    except ConnectionResetError:  # it hung up on bytes that it had not read
        pass
    return came


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def answering(talk: Callable[[socket.socket], object]) -> Iterator[tuple[str, list[bytes]]]:
    """Accept one connection, `talk`, and note what comes after."""
    heard: list[bytes] = []

    def serve() -> None:
        raw, _ = listener.accept()
        with raw:
            raw.settimeout(20)
            talk(raw)
            heard.append(all_from(raw))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield address_of(listener), heard
        thread.join()


@contextmanager
def overheard(address: str) -> Iterator[tuple[str, list[bytes]]]:
    """Pass one connection on to `address`, and note what its client says."""
    said: list[bytes] = []

    def pass_on(source: socket.socket, target: socket.socket, note: list[bytes]) -> None:
        while more := source.recv(65536):
            note.append(more)
            target.sendall(more)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with listener.accept()[0] as near, connect(*split_address(address), Deadline(20)) as far:
            back = threading.Thread(target=pass_on, args=(far, near, []))
            back.start()
            pass_on(near, far, said)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield address_of(listener), said
        thread.join()
