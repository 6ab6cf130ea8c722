"""Which connections to a chunk server may stay when there are too many.

Knows nothing of what is said on them.
"""

from __future__ import annotations

import socket
import threading
import time

from workers.cache.sockets import cut

_PROOF_S = 0.1  # more than a host needs to prove itself; who is slower is cut as soon as others wait
_ROOM_WAIT_S = 0.5


class Admission:
    """Counts connections of hosts, and apart from them those that have yet to prove that they are such. Thread-safe.

    Parameters
    ----------
    proved : int
        Most connections of hosts; the one that has been idle for longest makes room for a new one.
    unproved : int
        Most of the others, so that they keep no host out; the oldest makes room for a new one.
    """

    def __init__(self, proved: int, unproved: int) -> None:
        self._most_proved, self._most_unproved = proved, unproved
        self._changed = threading.Condition()  # of what follows
        self._unproved: dict[socket.socket, float] = {}  # when they came, the oldest first
        self._proved: set[socket.socket] = set()
        self._idle: dict[socket.socket, None] = {}  # the longest idle first

    def enter(self, sock: socket.socket) -> None:
        """Take a new connection in; waits a little, or cuts one, where others have yet to prove themselves."""
        with self._changed:
            if len(self._unproved) >= self._most_unproved:
                waited_s = time.monotonic() - next(iter(self._unproved.values()))
                self._changed.wait_for(lambda: len(self._unproved) < self._most_unproved, max(0, _PROOF_S - waited_s))
            if len(self._unproved) >= self._most_unproved:
                oldest = next(iter(self._unproved))
                del self._unproved[oldest]
                cut(oldest)
            self._unproved[sock] = time.monotonic()

    def prove(self, sock: socket.socket) -> bool:
        """Count a connection as a host's, and return whether it may stay."""
        with self._changed:
            if self._unproved.pop(sock, None) is None:  # cut meanwhile
                return False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._idle or len(self._proved) < self._most_proved, _ROOM_WAIT_S)
            if len(self._proved) >= self._most_proved:
                longest_idle = next(iter(self._idle), None)
                if longest_idle is None:
                    return False
                self._forget(longest_idle)
                cut(longest_idle)
            self._proved.add(sock)
            return True

    def rest(self, sock: socket.socket) -> None:
        """Note that a host's connection waits for its next request."""
        with self._changed:
            if sock in self._proved:
                self._idle[sock] = None
                self._changed.notify_all()

    def work(self, sock: socket.socket) -> None:
        """Note that a host's connection has a request."""
        with self._changed:
            self._idle.pop(sock, None)

    def leave(self, sock: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._changed:
            self._unproved.pop(sock, None)
            self._forget(sock)
            self._changed.notify_all()

    def _forget(self, sock: socket.socket) -> None:
        self._proved.discard(sock)
        self._idle.pop(sock, None)


__all__ = ["Admission"]
