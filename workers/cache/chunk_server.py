"""Serves the chunks of this host to other hosts. Knows neither models nor Dask, and not why somebody asks."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import BinaryIO, ClassVar

from workers.cache.admission import Admission
from workers.cache.chunk_protocol import (
    ProtocolError,
    Session,
    Status,
    check_token,
    receive_request,
    send_answer,
    welcome,
)
from workers.cache.peer_ports import first_free
from workers.cache.piece import Piece
from workers.cache.rate_limit import RateLimit
from workers.cache.sockets import Deadline, address_of, cut, listen, ready, send_portion

_LOOPBACK = "127.0.0.1"
_STEP_BYTES = 256 * 1024
_BUSY_AFTER_S = 0.2  # a short wait spares the asker a second request where uploads are short
_STRANGERS_S = 60.0
_ACCEPT_WAIT_S = 0.5
_CLOSE_S = 5.0

logger = logging.getLogger(__name__)


class ChunkServer:
    """A threaded server of chunks, from when it is made until `close`.

    Who does not know the token is told nothing. Bytes go from the file to the socket by the kernel, or, with TLS, in
    small portions: memory does not grow with chunks.

    Parameters
    ----------
    find : callable
        Tells where a chunk lies, by its id; None if it is not here. Called from many threads.
    token : bytes
        What the hosts of this cluster and tenant have in common, 16 bytes or more.
    ssl_context : ssl.SSLContext or None
        For a server, where the cluster has TLS.
    uploads : int
        Chunks sent at a time; who asks for more is told that this host is busy.
    host : str
        Address by which other hosts reach this one, and the only one to listen at; "" is this machine alone.
    upload_bytes_per_s : float or None
        Most bytes a second, of all uploads together.

    Attributes
    ----------
    connections : int
        Most connections of hosts; the one that has been idle for longest makes room for a new one.
    unproved : int
        Most connections beside them that have yet to show that they know the token; the oldest makes room.
    handshake_s : float
        Time for a new connection to show that it knows the token, and for a request that has begun to be whole.
    idle_s : float
        Time after which a connection without requests is closed.
    stall_s : float
        Time for the asker to take the next portion of a chunk, at most 256 KiB.

    Raises
    ------
    ValueError
        If the token is too short, or a number makes no sense.
    OSError
        If the address cannot be listened at.
    """

    connections: ClassVar[int] = 512
    unproved: ClassVar[int] = 64
    handshake_s: ClassVar[float] = 5.0
    idle_s: ClassVar[float] = 60.0
    stall_s: ClassVar[float] = 20.0

    def __init__(
        self,
        find: Callable[[str], Piece | None],
        token: bytes,
        ssl_context: ssl.SSLContext | None = None,
        uploads: int = 8,
        host: str = "",
        upload_bytes_per_s: float | None = None,
    ) -> None:
        if uploads < 1:
            raise ValueError(f"A chunk server with {uploads} uploads at a time serves nobody; give 1 or more.")
        self._find = find
        self._token = check_token(token)
        self._ssl_context = ssl_context
        self._uploads = threading.BoundedSemaphore(uploads)
        self._limit = None if upload_bytes_per_s is None else RateLimit(upload_bytes_per_s)
        self._step_bytes = self._limit.step_bytes if self._limit else _STEP_BYTES
        self._host = host or _LOOPBACK
        self._listener = first_free(lambda port: listen(self._host, _ACCEPT_WAIT_S, port))
        self._port = int(self._listener.getsockname()[1])
        self._admission = Admission(self.connections, self.unproved)
        self._lock = threading.Lock()  # of what follows
        self._sent_bytes = 0
        self._next_stranger_s = 0.0  # when one of them is warned of again
        self._threads: dict[socket.socket, threading.Thread] = {}
        self._closing = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name="chunk-server", daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        """The port at which it listens: the first free one of `PRESSRUN_CACHE_PORT`, else one that the system chose."""
        return self._port

    @property
    def address(self) -> str:
        """The "host:port" to give to others."""
        return address_of(self._host, self._port)

    @property
    def sent_bytes(self) -> int:
        """Bytes of chunks that were sent so far, whole or not."""
        return self._sent_bytes

    def close(self) -> None:
        """Stop listening and cut every connection; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts, on Linux; elsewhere it wakes soon
        self._accepting.join(_CLOSE_S)
        with self._lock:
            threads = dict(self._threads)
        for sock in threads:
            cut(sock)
        gives_up = time.monotonic() + _CLOSE_S
        for thread in threads.values():
            thread.join(max(0.0, gives_up - time.monotonic()))

    def __enter__(self) -> ChunkServer:
        """Return the server, which serves already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server."""
        self.close()

    def _accept(self) -> None:
        with closing(self._listener):
            while not self._closing.is_set():
                try:
                    raw, _ = self._listener.accept()
                    self._admit(raw)
                except TimeoutError:
                    continue
                except (OSError, RuntimeError) as error:  # no more files or threads
                    if not self._closing.is_set():
                        logger.warning("A connection to the chunk server was not accepted: %s.", error)
                        self._closing.wait(_ACCEPT_WAIT_S)

    def _admit(self, raw: socket.socket) -> None:
        try:
            sock = self._wrapped(raw)
        except OSError:  # the peer is gone already
            return raw.close()
        self._admission.enter(sock)
        with self._lock:
            thread = threading.Thread(target=self._serve, args=(sock,), name="chunk-upload", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._admission.leave(sock)
                sock.close()
                raise
            # Each stays here until it has ended, so that closing leaves none behind.
            self._threads = {known: other for known, other in self._threads.items() if other.is_alive()}
            self._threads[sock] = thread

    def _wrapped(self, raw: socket.socket) -> socket.socket:
        if not self._ssl_context:
            return raw
        return self._ssl_context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)

    def _serve(self, sock: socket.socket) -> None:
        session = None
        try:
            session = self._welcomed(sock)
            if not self._admission.prove(sock):
                return
            while not self._closing.is_set():
                self._answer(sock, self._next_request(sock, session))
        except (ProtocolError, _FileChanged) as error:
            level = logging.WARNING if session else self._level_for_strangers()
            logger.log(level, "The chunk server hung up on %s: %s.", _peer_of(sock), error)
        except OSError as error:  # the usual end of a connection
            logger.debug("A connection of the chunk server ended: %s.", type(error).__name__)
        except Exception:
            logger.exception("The chunk server hung up on %s after a fault of its own.", _peer_of(sock))
        finally:
            self._admission.leave(sock)
            sock.close()

    def _level_for_strangers(self) -> int:
        """Return WARNING once a minute, so that health checks and port scans fill no log, else DEBUG."""
        now_s = time.monotonic()
        with self._lock:
            if now_s < self._next_stranger_s:
                return logging.DEBUG
            self._next_stranger_s = now_s + _STRANGERS_S
            return logging.WARNING

    def _welcomed(self, sock: socket.socket) -> Session:
        deadline = Deadline(self.handshake_s)
        ready(sock, deadline)
        return welcome(sock, self._token, deadline)

    def _next_request(self, sock: socket.socket, session: Session) -> str:
        self._admission.rest(sock)
        chunk_id = receive_request(sock, session, self.idle_s, self.handshake_s)
        self._admission.work(sock)
        return chunk_id

    def _answer(self, sock: socket.socket, chunk_id: str) -> None:
        found = self._open(chunk_id)
        if not found:
            return send_answer(sock, Status.LACKS, 0, Deadline(self.stall_s))
        piece, file = found
        with file:
            if not self._uploads.acquire(timeout=_BUSY_AFTER_S):
                return send_answer(sock, Status.BUSY, 0, Deadline(self.stall_s))
            try:
                send_answer(sock, Status.HERE, piece.size_bytes, Deadline(self.stall_s))
                self._send(sock, file, piece)
            finally:
                self._uploads.release()

    def _open(self, chunk_id: str) -> tuple[Piece, BinaryIO] | None:
        piece = self._find(chunk_id)
        if piece is None:
            return None
        try:
            file = piece.path.open("rb", buffering=0)
        except OSError as error:  # dropped a moment ago, or unreadable: others may have it
            logger.warning("Chunk %s cannot be read: %s.", chunk_id, error)
            return None
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes < piece.start + piece.size_bytes:
            file.close()
            logger.warning("Chunk %s cannot be read: %s.", chunk_id, _FileChanged(piece, size_bytes))
            return None
        return piece, file

    def _send(self, sock: socket.socket, file: BinaryIO, piece: Piece) -> None:
        start, stop = piece.start, piece.start + piece.size_bytes
        while start < stop:
            count = min(self._step_bytes, stop - start)
            if not send_portion(sock, file, start, count, Deadline(self.stall_s)):
                raise _FileChanged(piece, os.fstat(file.fileno()).st_size)
            start += count
            with self._lock:
                self._sent_bytes += count
            if self._limit:
                self._closing.wait(self._limit.due_s(count))


class _FileChanged(Exception):
    """A file is shorter than the chunks that it is said to hold."""

    def __init__(self, piece: Piece, size_bytes: int) -> None:
        super().__init__(
            f"{piece.path} has {size_bytes:,} bytes, and the chunk ends at byte {piece.start + piece.size_bytes:,}"
        )


def _peer_of(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return "a host that is gone"
