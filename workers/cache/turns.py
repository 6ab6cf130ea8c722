"""Who may bring a revision to this host just now: one at a time of this process. Knows not how it is brought."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from pressrun.errors import CacheInUse

_LOOK_S = 0.5


class Turns:
    """A turn for each revision; safe to use from many threads."""

    def __init__(self) -> None:
        self._locks: dict[str, Lock] = {}
        self._lock = Lock()

    @contextmanager
    def turn(self, revision: str, timeout_s: float | None, meanwhile: Callable[[], None]) -> Iterator[None]:
        """Wait for the turn, and have it until the end of the context.

        Parameters
        ----------
        revision : str
            Of which revision.
        timeout_s : float or None
            How long to wait; None as long as it takes.
        meanwhile : callable
            Called now and then while another has the turn.

        Raises
        ------
        CacheInUse
            If another has it when the time is up.
        """
        with self._lock:
            mine = self._locks.setdefault(revision, Lock())
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not mine.acquire(timeout=max(0.0, min(_LOOK_S, until_s - time.monotonic()))):
            if time.monotonic() >= until_s:
                raise CacheInUse(f"Revision {revision} is being brought here for more than {timeout_s} s; wait longer.")
            meanwhile()
        try:
            yield
        finally:
            mine.release()


__all__ = ["Turns"]
