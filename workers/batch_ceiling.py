"""How many pictures of a size the device has memory for, as found out while drawing.

Knows nothing of engines. What ran out of memory once is not tried at every batch again, and not given up for ever.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

_TRUST = 8  # batches that must go well before a larger one is tried


@dataclass(slots=True)
class _Ceiling:
    size: int
    well: int = 0
    trust: int = _TRUST


@dataclass(slots=True)
class _Apart:
    left: int = 0
    trust: int = _TRUST


class BatchCeilings:
    """The most pictures at once, by what is drawn; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ceilings: dict[object, _Ceiling] = {}
        self._apart: dict[object, _Apart] = {}

    def may_share(self, what: object) -> bool:
        """Return whether the next batch may be decoded beside another; asked once a batch."""
        with self._lock:
            apart = self._apart.get(what)
            if apart is None or apart.left == 0:
                return True
            apart.left -= 1
            return False

    def crowded(self, what: object) -> None:
        """Note that a batch fitted only by itself: the next ones are drawn apart, each time twice as many."""
        with self._lock:
            apart = self._apart.setdefault(what, _Apart())
            apart.left, apart.trust = apart.trust, 2 * apart.trust

    def most(self, what: object, wanted: int) -> int:
        """Return how many of the wanted pictures to draw at once."""
        with self._lock:
            ceiling = self._ceilings.get(what)
            return wanted if ceiling is None else min(wanted, ceiling.size)

    def too_many(self, what: object, size: int) -> None:
        """Note that so many were too many: half of them from now on, and after a failed growth for twice as long."""
        with self._lock:
            ceiling = self._ceilings.setdefault(what, _Ceiling(size))
            if size > ceiling.size:
                ceiling.trust *= 2
            ceiling.size, ceiling.well = min(ceiling.size, max(1, size // 2)), 0

    def went_well(self, what: object, size: int) -> None:
        """Note that so many fitted; after several such batches in a row twice as many are tried."""
        with self._lock:
            ceiling = self._ceilings.get(what)
            if ceiling is None or size < ceiling.size:
                return
            ceiling.well += 1
            if ceiling.well >= ceiling.trust:
                ceiling.size, ceiling.well = 2 * ceiling.size, 0


_ceilings = BatchCeilings()


def batch_ceilings() -> BatchCeilings:
    """Return this process's ceilings."""
    return _ceilings
