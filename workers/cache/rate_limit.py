"""A share of a link in bytes a second, for all connections of a host together. Knows no sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SMALLEST_STEP_BYTES = 64 * 1024
_LARGEST_STEP_BYTES = 256 * 1024
_STEPS_PER_S = 50
_CATCH_UP_S = 0.1  # who slept longer than asked may make up for it; idle time beyond that is lost


class RateLimit:
    """Tells whoever moved bytes how long to wait, so that all together keep to a rate. Thread-safe.

    Parameters
    ----------
    bytes_per_s : float
        The rate, above 0.
    clock : callable
        Seconds that never go back.

    Raises
    ------
    ValueError
        If the rate is not above 0.
    """

    def __init__(self, bytes_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not bytes_per_s > 0:
            raise ValueError(f"A rate of {bytes_per_s} bytes/s moves nothing; give one above 0, or None for no limit.")
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._even_at = clock()  # when all that was moved so far is paid for

    @property
    def step_bytes(self) -> int:
        """Bytes to move at once, so that the flow is smooth."""
        return int(min(_LARGEST_STEP_BYTES, max(_SMALLEST_STEP_BYTES, self._bytes_per_s / _STEPS_PER_S)))

    def due_s(self, moved_bytes: int) -> float:
        """Count bytes that were moved, and return the seconds to wait before the next."""
        with self._lock:
            now = self._clock()
            self._even_at = max(self._even_at, now - _CATCH_UP_S) + moved_bytes / self._bytes_per_s
            return max(0.0, self._even_at - now)
