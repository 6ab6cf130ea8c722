"""Fetches chunks from other hosts into memory. Knows not what they mean, nor whether they are the right bytes."""

from __future__ import annotations

import math
import ssl
from contextlib import suppress
from types import TracebackType

from pressrun.errors import PressrunError
from workers.cache.chunk_protocol import ProtocolError, Status, receive_answer, send_request
from workers.cache.peer_connections import PeerConnection, PeerConnections
from workers.cache.rate_limit import RateLimit
from workers.cache.sockets import Deadline, receive_into


class PeerLacks(PressrunError):
    """The peer does not have the chunk."""


class PeerRefused(PressrunError):
    """The peer does not answer, hangs up, does not know the token, or does not send what it was asked for."""


class PeerBusy(PeerRefused):
    """The peer has as many uploads as it may; it can be asked again in a moment."""


class PeerTimedOut(PressrunError):
    """The chunk did not come in time."""


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
        self._limit = None if download_bytes_per_s is None else RateLimit(download_bytes_per_s)
        self._connections = PeerConnections(token, ssl_context, paced=self._limit is not None)

    def fetch(self, address: str, chunk_id: str, into: memoryview, timeout_s: float, stall_s: float = math.inf) -> None:
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
        stall_s : float
            When to give up a peer from which nothing at all comes, at any point: hosts that are cut off say no word.

        Raises
        ------
        PeerLacks
            If the peer does not have it.
        PeerBusy
            If the peer has as many uploads as it may.
        PeerRefused
            If there is no such peer, or it does not do as it should; or if this client is closed.
        PeerTimedOut
            If the chunk did not come in time, or nothing came for too long.
        """
        deadline = Deadline(timeout_s)
        what = f"Chunk {chunk_id} did not come from {address}"
        try:
            status = self._fetch(address, chunk_id, into, deadline, stall_s)
        except TimeoutError as error:
            allowed = f"{timeout_s:g} s in all, {stall_s:g} s without a byte"
            raise PeerTimedOut(f"{what} in time ({allowed}): {error}.") from None
        except (OSError, ProtocolError) as error:
            raise PeerRefused(f"{what}: {error}.") from None
        if status is Status.LACKS:
            raise PeerLacks(f"{what}: it is not there.")
        if status is Status.BUSY:
            raise PeerBusy(f"{what}: it has as many uploads as it may; ask again in a moment.")

    def close(self) -> None:
        """Close idle connections and cut those in use, whose fetches fail at once."""
        self._connections.close()

    def __enter__(self) -> ChunkClient:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def _fetch(self, address: str, chunk_id: str, into: memoryview, deadline: Deadline, stall_s: float) -> Status:
        connection, status, size_bytes = self._asked(address, chunk_id, deadline, stall_s)
        with self._connections.lent(connection):
            if status is Status.HERE:
                if size_bytes != len(into):
                    raise ProtocolError(f"it has {size_bytes:,} bytes there, {len(into):,} are expected")
                receive_into(connection.sock, into, deadline, self._limit, stall_s)
        self._connections.keep(connection)
        return status

    def _asked(
        self, address: str, chunk_id: str, deadline: Deadline, stall_s: float
    ) -> tuple[PeerConnection, Status, int]:
        kept = self._connections.take_idle(address)
        if kept:
            # The peer may have closed it since, or be another process now: that is no failure of this fetch.
            with suppress(ConnectionError, ssl.SSLError):
                return self._ask(kept, chunk_id, deadline.within(stall_s))
        opened = self._connections.open(address, deadline.within(stall_s))
        return self._ask(opened, chunk_id, deadline.within(stall_s))

    def _ask(self, connection: PeerConnection, chunk_id: str, deadline: Deadline) -> tuple[PeerConnection, Status, int]:
        with self._connections.lent(connection):
            send_request(connection.sock, connection.session, chunk_id, deadline)
            return connection, *receive_answer(connection.sock, deadline)
