"""Locks of files as somebody sees them who changes nothing: makes no file, and needs no right to write.

Knows nothing of what the locks are for. A lock that cannot be looked at counts as nobody's.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_locked(path: Path) -> bool:
    """Return whether somebody holds a lock on a file, shared or not."""
    with _opened(path) as descriptor:
        if descriptor is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system that locks only what was opened for writing, or nothing
            return False
        return False


@contextmanager
def while_unlocked(path: Path) -> Iterator[None]:
    """Wait until nobody holds a lock on a file, and keep others from it meanwhile, where that can be done."""
    with _opened(path) as descriptor:
        try:
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # and with it goes the lock


__all__ = ["is_locked", "while_unlocked"]
