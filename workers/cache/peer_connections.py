"""Connections to peers that have proved the token: made, kept while idle, thrown away. Knows nothing of chunks."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from workers.cache.chunk_protocol import ProtocolError, Session, check_token, greet
from workers.cache.sockets import Deadline, connect, cut, ready, split_address

_KEPT = 4  # idle ones, an address
_KEPT_S = 30.0  # less than servers keep theirs
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class PeerConnection:
    """A connection after its handshake.

    Parameters
    ----------
    address : str
        The peer's "host:port".
    sock : socket.socket
        The connection.
    session : Session
        What requests are sealed with.
    """

    address: str
    sock: socket.socket
    session: Session


class PeerConnections:
    """All connections of a client. Thread-safe.

    Parameters
    ----------
    token : bytes
        What both sides must know.
    ssl_context : ssl.SSLContext or None
        For a client, where the cluster has TLS.
    paced : bool
        Whether what comes is read slowly on purpose.
    """

    def __init__(self, token: bytes, ssl_context: ssl.SSLContext | None, paced: bool) -> None:
        self._token = check_token(token)
        self._ssl_context = ssl_context
        self._paced = paced
        self._lock = threading.Lock()
        self._closed = False
        self._used: set[socket.socket] = set()
        self._idle: list[tuple[float, PeerConnection]] = []  # with the time since when, in its order

    def take_idle(self, address: str) -> PeerConnection | None:
        """Return a connection that was kept, which the peer may have closed since; None if there is none."""
        oldest_s = time.monotonic() - _KEPT_S
        with self._lock:
            old = self._forgotten(lambda since_s, _: since_s < oldest_s)
            at_hand = [entry for entry in self._idle if entry[1].address == address]
            if at_hand:
                self._idle.remove(at_hand[-1])
                self._used.add(at_hand[-1][1].sock)
        _close(old)
        return at_hand[-1][1] if at_hand else None

    def open(self, address: str, deadline: Deadline) -> PeerConnection:
        """Return a new connection.

        Raises
        ------
        TimeoutError
            If the peer does not answer within ten seconds, or by the deadline.
        ProtocolError
            If the address is none, or the handshake fails.
        OSError
            If there is no such peer.
        """
        soon = deadline.within(_CONNECT_S)
        try:
            sock = self._connected(address, soon)
            with self._dropped_on_failure(sock):
                ready(sock, soon)
                return PeerConnection(address, sock, greet(sock, self._token, soon))
        except TimeoutError:
            raise TimeoutError("it does not answer") from None

    @contextmanager
    def lent(self, connection: PeerConnection) -> Iterator[None]:
        """Throw the connection away if the block fails, and with it the peer's idle ones, which are hardly better."""
        with self._dropped_on_failure(connection.sock):
            try:
                yield
            except BaseException:
                with self._lock:
                    idle = self._forgotten(lambda _, kept: kept.address == connection.address)
                _close(idle)
                raise

    def keep(self, connection: PeerConnection) -> None:
        """Keep a connection whose last answer was read whole, or close it where enough are kept."""
        with self._lock:
            self._used.discard(connection.sock)
            kept = sum(idle.address == connection.address for _, idle in self._idle)
            if not self._closed and kept < _KEPT:
                self._idle.append((time.monotonic(), connection))
                return
        connection.sock.close()

    def close(self) -> None:
        """Close idle connections and cut those in use."""
        with self._lock:
            self._closed = True
            idle = self._forgotten(lambda _since_s, _kept: True)
            for sock in self._used:
                cut(sock)
        _close(idle)

    def _connected(self, address: str, deadline: Deadline) -> socket.socket:
        try:
            host, port = split_address(address)
            sock = connect(host, port, deadline, self._paced)
        except ValueError as error:  # also for names that no resolver takes
            raise ProtocolError(str(error)) from None
        with self._dropped_on_failure(sock):
            if self._ssl_context:
                sock = self._ssl_context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        with self._dropped_on_failure(sock), self._lock:
            if self._closed:
                raise ConnectionError("this client is closed")
            self._used.add(sock)
        return sock

    @contextmanager
    def _dropped_on_failure(self, sock: socket.socket) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with self._lock:
                self._used.discard(sock)
            sock.close()
            raise

    def _forgotten(self, which: Callable[[float, PeerConnection], bool]) -> list[PeerConnection]:
        """Take idle connections out, under the lock, for closing without it."""
        out = [kept for since_s, kept in self._idle if which(since_s, kept)]
        self._idle = [entry for entry in self._idle if entry[1] not in out]
        return out


def _close(connections: list[PeerConnection]) -> None:
    for connection in connections:
        connection.sock.close()
