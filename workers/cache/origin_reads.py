"""What a host reads from the origin just now, and since when. Knows nothing of who ordered it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from workers.cache.store_client import REQUEST_S

_HUNG_S = 7 * REQUEST_S  # longer than every attempt of a read takes that is bounded at all


class OriginReads:
    """Reads that were ordered and are not over; safe to use from many threads.

    Parameters
    ----------
    hung_s : float
        From which age on a read counts as hung: some filesystems wait without an end.
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(self, hung_s: float = _HUNG_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._hung_s, self._clock = hung_s, clock
        self._since: dict[int, tuple[str, float]] = {}
        self._number = 0
        self._lock = Lock()

    def begin(self, chunk_id: str) -> int:
        """Note that a chunk is to be read; returns what `end` takes."""
        with self._lock:
            self._number += 1
            self._since[self._number] = chunk_id, self._clock()
            return self._number

    def end(self, number: int) -> None:
        """Note that a read is over, however it went."""
        with self._lock:
            self._since.pop(number, None)

    def alive(self) -> tuple[str, ...]:
        """Return the chunks of reads that do not hang."""
        oldest_s = self._clock() - self._hung_s
        with self._lock:
            return tuple(dict.fromkeys(chunk_id for chunk_id, since_s in self._since.values() if since_s > oldest_s))

    def hangs(self, chunk_id: str) -> bool:
        """Return whether a read of this chunk hangs."""
        oldest_s = self._clock() - self._hung_s
        with self._lock:
            return any(since_s <= oldest_s for ordered, since_s in self._since.values() if ordered == chunk_id)


__all__ = ["OriginReads"]
