"""Places for batches in flight, shared by the open shards of a run.

Knows nothing of batches. One shard at a time can ask for the whole cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """A fixed number of places.

    Parameters
    ----------
    count : int
        Places, 1 or more.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.BoundedSemaphore(count)
        self._alone = threading.Lock()

    def take(self) -> bool:
        """Take a place, and return whether one was free; none is while somebody wants them all."""
        return not self._alone.locked() and self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a place back."""
        self._free.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until every place is free and hold them all; the caller must hold none itself."""
        with self._alone:
            for _ in range(self._count):
                self._free.acquire()
            try:
                yield
            finally:
                self._free.release(self._count)
