"""How many reads from the origin are worth having under way at once, learnt from how long they take.

Up to where the origin's link is full, more at once are faster; from there on each only takes longer, and hosts wait for
chunks to pass on. Knows nothing of hosts.
"""

from __future__ import annotations

_SPARE_READS = 2  # more than seem to fit: only by asking for more is it found that more fit
_NEWEST_WEIGHT = 0.25


class OriginPace:
    """Begins with few reads, and allows more as long as they do not take longer for it.

    Attributes
    ----------
    reads : float
        As many as are worth having.
    """

    def __init__(self) -> None:
        self.reads = 0.0
        self._largest_bytes = 0
        self._least_s = 0.0  # a byte, of chunks of about the largest size

    def took(self, size_bytes: int, seconds: float, reads: int) -> None:
        """Learn from a read.

        Parameters
        ----------
        size_bytes : int
            What was read; small chunks say more of waits than of speed, and are passed over.
        seconds : float
            How long it took.
        reads : int
            How many were under way, this one included.
        """
        self._largest_bytes = max(self._largest_bytes, size_bytes)
        if 2 * size_bytes < self._largest_bytes or seconds <= 0:
            return
        a_byte_s = seconds / size_bytes
        self._least_s = min(self._least_s or a_byte_s, a_byte_s)
        fitting = reads * self._least_s / a_byte_s + _SPARE_READS
        self.reads += _NEWEST_WEIGHT * (fitting - self.reads)


__all__ = ["OriginPace"]
