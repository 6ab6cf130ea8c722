"""A file mapped into memory through the kernel's page cache, whole and at once.

Nothing is copied, and all processes of a host that map the file share its pages. Pages that are not there yet are
brought by a few streams, each with a readahead of its own, instead of one page fault after another. Knows nothing of
what files mean.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14; mmap has no name for it
_STREAMS = 4
_STREAM_BYTES = 64 * 2**20  # at least, for each
_SAMPLES = 256
_MOSTLY = 0.9


def mapped_whole(path: Path) -> mmap.mmap | None:
    """Return a file's bytes, held by the page cache when this returns; None where the system cannot do that.

    Parameters
    ----------
    path : Path
        A local file.

    Returns
    -------
    mmap.mmap or None
        As long as the file. What is written to it is kept apart and changes neither the file nor another's mapping.
    """
    mapped = _mapped(path) if sys.platform.startswith("linux") else None
    if mapped is None or cached_share(mapped) == 1:
        return mapped
    streams = min(_STREAMS, -(-len(mapped) // _STREAM_BYTES))
    share_bytes = -(-len(mapped) // streams // mmap.PAGESIZE) * mmap.PAGESIZE
    with ThreadPoolExecutor(streams, thread_name_prefix="weights-read") as threads:
        brought = threads.map(partial(_bring, path, share_bytes), range(0, len(mapped), share_bytes))
        return mapped if all(brought) else None


def cached_share(mapped: mmap.mmap) -> float:
    """Return how much of a mapped file the page cache holds, 0 .. 1, by a sample of its pages.

    Parameters
    ----------
    mapped : mmap.mmap
        The whole file, writable (`ACCESS_COPY`).

    Returns
    -------
    float
        1 also where the system does not say.
    """
    pages = -(-len(mapped) // mmap.PAGESIZE)
    base, held, found = ctypes.c_char.from_buffer(mapped), ctypes.c_ubyte(), 0
    sample = {number * pages // _SAMPLES for number in range(_SAMPLES)}
    for page in sample:
        address = ctypes.c_void_p(ctypes.addressof(base) + page * mmap.PAGESIZE)
        if _libc().mincore(address, ctypes.c_size_t(1), ctypes.byref(held)):
            return 1.0
        found += held.value & 1
    return found / len(sample)


def is_cached(path: Path) -> bool:
    """Return whether the page cache holds a file, or nearly; False where that is not known."""
    mapped = _mapped(path) if sys.platform.startswith("linux") else None
    return mapped is not None and cached_share(mapped) > _MOSTLY


def _bring(path: Path, size_bytes: int, start: int) -> bool:
    """Bring part of a file into the page cache; False when the kernel is too old or the disk is broken."""
    mapped = _mapped(path)  # of its own: the kernel reads ahead by open file
    if mapped is None:
        return False
    base = ctypes.c_char.from_buffer(mapped)
    address = ctypes.c_void_p(ctypes.addressof(base) + start)
    return bool(_libc().madvise(address, ctypes.c_size_t(min(size_bytes, len(mapped) - start)), _POPULATE_READ) == 0)


def _mapped(path: Path) -> mmap.mmap | None:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):  # a file system without mappings; an empty file
        return None


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)  # its calls let go of the interpreter's lock


__all__ = ["cached_share", "is_cached", "mapped_whole"]
