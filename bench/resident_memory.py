"""Memory that is held, so that what others take next is memory which the machine really has.

A virtual machine's host takes free memory back within seconds, and gives it again at the first touch, at up to ten
microseconds a page: seconds for a model, paid by whoever happens to be handed such pages. Knows nothing of what is
measured.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil


@contextmanager
def resident(size_bytes: int) -> Iterator[None]:
    """Hold memory that was written to, and free it at the end of the block; nothing where the size is not positive."""
    if size_bytes < mmap.PAGESIZE:
        yield
        return
    with mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        _touch(memory)
        yield


def all_but(left_bytes: int) -> int:
    """Return how many bytes may be taken so that so many are left for others, the page cache included."""
    return int(psutil.virtual_memory().available) - left_bytes


def unused_but(left_bytes: int) -> int:
    """Return how many bytes may be taken of those that hold nothing at all, so that so many of them are left."""
    return int(psutil.virtual_memory().free) - left_bytes


def _touch(memory: mmap.mmap) -> None:
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1


__all__ = ["all_but", "resident", "unused_but"]
