"""Places for batches in flight, shared by the open shards of a run.

Knows nothing of batches. One shard at a time can ask for the whole cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """A number of places that may grow.

    Parameters
    ----------
    count : int
        Places at first, 1 or more.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)
        self._alone = threading.Lock()
        self._growing = threading.Lock()

    def take(self) -> bool:
        """Take a place, and return whether one was free; none is while somebody wants them all."""
        return not self._alone.locked() and self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a place back."""
        self._free.release()

    def widen_to(self, count: int) -> None:
        """Have at least so many places."""
        with self._growing:
            more = count - self._count
            if more > 0:
                self._count = count
                self._free.release(more)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until every place is free and hold them all; the caller must hold none itself."""
        with self._alone:
            held = 0
            while held < self._count:  # which may grow meanwhile
                self._free.acquire()
                held += 1
            try:
                yield
            finally:
                self._free.release(held)
