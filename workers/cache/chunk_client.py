"""Fetches chunks from other hosts into memory. Knows not what they mean, nor whether they are the right bytes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

from pressrun.errors import PressrunError
from workers.cache.chunk_protocol import (
    ProtocolError,
    Session,
    Status,
    check_token,
    greet,
    receive_answer,
    send_request,
)
from workers.cache.rate_limit import RateLimit
from workers.cache.sockets import Deadline, connect, cut, ready, receive_into, split_address

_KEPT_IDLE = 4  # connections an address
_KEPT_IDLE_S = 30.0  # less than servers keep theirs
_CONNECT_S = 10.0


class PeerLacks(PressrunError):
    """The peer does not have the chunk."""


class PeerRefused(PressrunError):
    """The peer does not answer, hangs up, does not know the token, or does not send what it was asked for."""


class PeerBusy(PeerRefused):
    """The peer has as many uploads as it may; it can be asked again in a moment."""


class PeerTimedOut(PressrunError):
    """The chunk did not come in time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    address: str
    sock: socket.socket
    session: Session


class ChunkClient:
    """Fetches chunks from any number of peers, from many threads at once; keeps idle connections.

    Parameters
    ----------
    token : bytes
        What the hosts of this cluster and tenant have in common, 16 bytes or more.
    ssl_context : ssl.SSLContext or None
        For a client, where the cluster has TLS.
    download_bytes_per_s : float or None
        Most bytes a second, of all downloads together.

    Raises
    ------
    ValueError
        If the token is too short, or the rate is not above 0.
    """

    def __init__(
        self, token: bytes, ssl_context: ssl.SSLContext | None = None, download_bytes_per_s: float | None = None
    ) -> None:
        self._token = check_token(token)
        self._ssl_context = ssl_context
        self._limit = None if download_bytes_per_s is None else RateLimit(download_bytes_per_s)
        self._lock = threading.Lock()
        self._closed = False
        self._used: set[socket.socket] = set()
        self._idle: dict[str, list[tuple[float, _Connection]]] = {}

    def fetch(self, address: str, chunk_id: str, into: memoryview, timeout_s: float) -> None:
        """Fetch a chunk; whether it is the right bytes is for the caller to check.

        Parameters
        ----------
        address : str
            The peer's "host:port", an IPv6 address in brackets.
        chunk_id : str
            The chunk.
        into : memoryview of bytes
            Writable, as long as the chunk. Its contents are undefined after a failure.
        timeout_s : float
            When to give up, everything included.

        Raises
        ------
        PeerLacks
            If the peer does not have it.
        PeerBusy
            If the peer has as many uploads as it may.
        PeerRefused
            If there is no such peer, or it does not do as it should; or if this client is closed.
        PeerTimedOut
            If the chunk did not come in time.
        """
        deadline = Deadline(timeout_s)
        what = f"Chunk {chunk_id} did not come from {address}"
        try:
            status = self._fetch(address, chunk_id, into, deadline)
        except TimeoutError as error:
            raise PeerTimedOut(f"{what} in time ({timeout_s:g} s): {error}.") from None
        except (OSError, ProtocolError) as error:
            raise PeerRefused(f"{what}: {error}.") from None
        if status is Status.LACKS:
            raise PeerLacks(f"{what}: it is not there.")
        if status is Status.BUSY:
            raise PeerBusy(f"{what}: it has as many uploads as it may; ask again in a moment.")

    def close(self) -> None:
        """Close idle connections and cut those in use, whose fetches fail at once."""
        with self._lock:
            self._closed = True
            idle = [connection for kept in self._idle.values() for _, connection in kept]
            self._idle.clear()
            for sock in self._used:
                cut(sock)
        for connection in idle:
            connection.sock.close()

    def __enter__(self) -> ChunkClient:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def _fetch(self, address: str, chunk_id: str, into: memoryview, deadline: Deadline) -> Status:
        connection, status, size_bytes = self._asked(address, chunk_id, deadline)
        with self._kept_after(connection):
            if status is Status.HERE:
                if size_bytes != len(into):
                    raise ProtocolError(f"it has {size_bytes:,} bytes there, {len(into):,} are expected")
                receive_into(connection.sock, into, deadline, self._limit)
        return status

    def _asked(self, address: str, chunk_id: str, deadline: Deadline) -> tuple[_Connection, Status, int]:
        kept = self._take_idle(address)
        if kept:
            # The peer may have closed it since, or be another process now: that is no failure of this fetch.
            with suppress(ConnectionError, ssl.SSLError), self._dropped_on_failure(kept):
                send_request(kept.sock, kept.session, chunk_id, deadline)
                return kept, *receive_answer(kept.sock, deadline)
        fresh = self._connect(address, deadline)
        with self._dropped_on_failure(fresh):
            send_request(fresh.sock, fresh.session, chunk_id, deadline)
            return fresh, *receive_answer(fresh.sock, deadline)

    def _connect(self, address: str, deadline: Deadline) -> _Connection:
        soon = deadline.within(_CONNECT_S)
        sock = self._open(address, soon)
        try:
            self._use(sock)
            ready(sock, soon)
            return _Connection(address, sock, greet(sock, self._token, soon))
        except BaseException as error:
            self._drop(sock)
            if isinstance(error, TimeoutError):
                raise TimeoutError("it does not answer") from None
            if isinstance(error, ConnectionError):
                raise ProtocolError(
                    f"the handshake failed ({error}); both hosts need the same token, and both TLS or neither"
                ) from None
            raise

    def _open(self, address: str, deadline: Deadline) -> socket.socket:
        try:
            host, port = split_address(address)
            raw = connect(host, port, deadline, paced=self._limit is not None)
        except ValueError as error:  # of names that no resolver takes, too
            raise ProtocolError(str(error)) from None
        if not self._ssl_context:
            return raw
        try:
            return self._ssl_context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            raw.close()
            raise

    @contextmanager
    def _kept_after(self, connection: _Connection) -> Iterator[None]:
        with self._dropped_on_failure(connection):
            yield
        self._keep(connection)

    @contextmanager
    def _dropped_on_failure(self, connection: _Connection) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._drop(connection.sock)
            self._drop_idle(connection.address)  # most likely they are no better
            raise

    def _use(self, sock: socket.socket) -> None:
        with self._lock:
            if self._closed:
                raise ConnectionError("this client is closed")
            self._used.add(sock)

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._used.discard(sock)
        sock.close()

    def _take_idle(self, address: str) -> _Connection | None:
        self._drop_old()
        with self._lock:
            kept = self._idle.get(address)
            if not kept:
                return None
            _, connection = kept.pop()
            self._used.add(connection.sock)
            return connection

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            self._used.discard(connection.sock)
            kept = self._idle.setdefault(connection.address, [])
            if not self._closed and len(kept) < _KEPT_IDLE:
                kept.append((time.monotonic(), connection))
                return
        connection.sock.close()

    def _drop_idle(self, address: str) -> None:
        with self._lock:
            kept = self._idle.pop(address, [])
        for _, connection in kept:
            connection.sock.close()

    def _drop_old(self) -> None:
        oldest = time.monotonic() - _KEPT_IDLE_S
        with self._lock:
            old = [connection for kept in self._idle.values() for since, connection in kept if since < oldest]
            fresh = {
                address: [(since, connection) for since, connection in kept if since >= oldest]
                for address, kept in self._idle.items()
            }
            self._idle = {address: kept for address, kept in fresh.items() if kept}
        for connection in old:
            connection.sock.close()
