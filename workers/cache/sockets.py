"""Sockets whose every wait has an end. Knows nothing of chunks and their protocol."""

from __future__ import annotations

import math
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import BinaryIO

from workers.cache.rate_limit import RateLimit

_BACKLOG = 128
_PACED_BUFFER_BYTES = 256 * 1024


class Deadline:
    """A point in time after which waiting ends.

    Parameters
    ----------
    timeout_s : float
        Seconds from now.
    """

    def __init__(self, timeout_s: float) -> None:
        self._at_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises
        ------
        TimeoutError
            If none are.
        """
        left = self._at_s - time.monotonic()
        if left <= 0:
            raise TimeoutError("out of time")
        return left

    def within(self, timeout_s: float) -> Deadline:
        """Return the deadline in `timeout_s` seconds, or this one if it is sooner."""
        return Deadline(min(timeout_s, self._at_s - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the deadline."""
        time.sleep(max(0.0, min(seconds, self._at_s - time.monotonic())))


def listen(host: str, wait_s: float, port: int = 0) -> socket.socket:
    """Return a socket that listens at `host` alone; `accept` waits `wait_s`, and port 0 has the system choose one."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if port:  # else connections of the process that had it before would block it for a minute
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.settimeout(wait_s)
    except OSError:
        listener.close()
        raise
    return listener


def connect(host: str, port: int, deadline: Deadline, paced: bool = False) -> socket.socket:
    """Return a connection, by the first of the host's addresses that answers.

    Parameters
    ----------
    host : str
        Name or IP address.
    port : int
        Where it listens.
    deadline : Deadline
        When to give up.
    paced : bool
        Whether what comes is read slowly on purpose: the system is then told not to take in much more than was read.

    Raises
    ------
    OSError
        If none answers; the last one's error.
    """
    failure: OSError = ConnectionError(f"{host} has no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            if paced:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PACED_BUFFER_BYTES)
            sock.settimeout(deadline.left_s())
            sock.connect(place)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def ready(sock: socket.socket, deadline: Deadline) -> None:
    """Go through the TLS handshake, if it is a TLS socket, and have small messages sent at once."""
    if isinstance(sock, ssl.SSLSocket):
        sock.settimeout(deadline.left_s())
        sock.do_handshake()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of `data` before the deadline, else raise `TimeoutError`."""
    view = memoryview(data)
    while view:
        sock.settimeout(deadline.left_s())
        view = view[sock.send(view) :]


def send_portion(sock: socket.socket, file: BinaryIO, start: int, count: int, deadline: Deadline) -> bool:
    """Send bytes of a file before the deadline; without TLS they do not pass through this process.

    Returns
    -------
    bool
        Whether the file has them all; if not, the connection is of no use any more.
    """
    if isinstance(sock, ssl.SSLSocket):
        data = os.pread(file.fileno(), count, start)
        send(sock, data, deadline)
        return len(data) == count
    sock.settimeout(deadline.left_s())  # and so it does not block
    writable = select.poll()
    writable.register(sock, select.POLLOUT)
    while count:
        writable.poll(deadline.left_s() * 1000)
        with suppress(BlockingIOError):
            sent = os.sendfile(sock.fileno(), file.fileno(), start, count)
            if not sent:
                return False
            start, count = start + sent, count - sent
    return True


def receive(sock: socket.socket, size_bytes: int, deadline: Deadline) -> bytes:
    """Return the next `size_bytes` bytes; raises as `receive_into` does."""
    data = bytearray(size_bytes)
    receive_into(sock, memoryview(data), deadline)
    return bytes(data)


def receive_into(
    sock: socket.socket,
    into: memoryview,
    deadline: Deadline,
    limit: RateLimit | None = None,
    stall_s: float = math.inf,
) -> None:
    """Fill `into` from the connection.

    Parameters
    ----------
    sock : socket.socket
        The connection.
    into : memoryview
        Writable.
    deadline : Deadline
        When all of it is to be there.
    limit : RateLimit or None
        Has it read no faster than this.
    stall_s : float
        How long nothing at all may come; a slow connection never is as silent as a dead one.

    Raises
    ------
    TimeoutError
        If not all has come by the deadline, or nothing came for so long.
    ConnectionError
        If the other side closes the connection before.
    """
    came = 0
    step_bytes = limit.step_bytes if limit else len(into)
    try:
        while came < len(into):
            sock.settimeout(min(stall_s, deadline.left_s()))
            count = sock.recv_into(into[came : came + step_bytes])
            if not count:
                raise ConnectionError(f"it closed the connection after {came:,} of {len(into):,} bytes")
            came += count
            if limit:
                deadline.sleep(limit.due_s(count))
    except TimeoutError:
        raise TimeoutError(f"{came:,} of {len(into):,} bytes came in time") from None


def cut(sock: socket.socket) -> None:
    """Wake the thread that uses a connection; it finds it ended, and closes it."""
    with suppress(OSError):
        # Not the TLS socket's own, after which it would read what is still there as if it were plain.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def address_of(host: str, port: int) -> str:
    """Return "host:port", with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[IPv6]:port".

    Raises
    ------
    ValueError
        If it is neither.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{address!r} is no address of the form host:port or [IPv6]:port")
    return host, int(port)
