"""How long a chunk may take from a peer, learnt from those that came of late. Knows nothing of hosts."""

from __future__ import annotations

from pressrun.cache.sources import Limits

_NEWEST_WEIGHT = 0.2  # of the latest flight in the mean speed
_LATE_S = 1.0


class PeerPace:
    """The mean speed of flights between peers, and what follows for the next ones.

    Parameters
    ----------
    limits : Limits
        How long anybody waits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes_per_s = 0.0

    def took(self, size_bytes: int, seconds: float) -> None:
        """Learn from a flight that brought its chunk."""
        if seconds > 0:
            speed = size_bytes / seconds
            self._bytes_per_s = (1 - _NEWEST_WEIGHT) * (self._bytes_per_s or speed) + _NEWEST_WEIGHT * speed

    def timeout_s(self, size_bytes: int) -> float:
        """Return how long a chunk may take."""
        expected_s = self._expected_s(size_bytes)
        if expected_s is None:
            return self._limits.first_timeout_s
        return max(self._limits.least_timeout_s, self._limits.slack * expected_s)

    def stall_s(self, size_bytes: int) -> float:
        """Return how long nothing at all may come of a chunk."""
        most_s, expected_s = self._limits.least_timeout_s, self._expected_s(size_bytes)
        return most_s if expected_s is None else min(most_s, max(self._limits.least_stall_s, 2 * expected_s))

    def is_late(self, size_bytes: int, since_s: float) -> bool:
        """Return whether a flight that began so long ago should be over."""
        expected_s = self._expected_s(size_bytes)
        return expected_s is not None and since_s > max(_LATE_S, 2 * expected_s)

    def _expected_s(self, size_bytes: int) -> float | None:
        return size_bytes / self._bytes_per_s if self._bytes_per_s else None


__all__ = ["PeerPace"]
