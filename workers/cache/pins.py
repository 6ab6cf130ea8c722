"""Pins: who uses a revision keeps it from being dropped, in any process, until done or dead.

Knows nothing of revisions; a pin is a shared lock of a file, which the kernel lets go of when its process ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def pinned(path: Path) -> Iterator[None]:
    """Hold a pin, and note the time of use, its end included, on its file.

    Parameters
    ----------
    path : Path
        The pin's file; made if missing.
    """
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _note_use(descriptor)
        try:
            yield
        finally:
            _note_use(descriptor)
            # A forked child may still have the descriptor open, and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _note_use(descriptor: int) -> None:
    now_ns = time.time_ns()  # the kernel's own stamps are some milliseconds coarse, and uses can be as close
    os.utime(descriptor, ns=(now_ns, now_ns))


@contextmanager
def unpinned(path: Path) -> Iterator[bool]:
    """Keep everybody from pinning, and tell whether that worked: it does not while somebody pins."""
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        os.utime(path, (0, 0))  # made to be looked at, not used yet
    except FileExistsError:
        descriptor = os.open(path, _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


__all__ = ["pinned", "unpinned"]
