"""A file mapped into memory through the kernel's page cache, whole and at once.

Nothing is copied, and all processes of a host that map the file share its pages. Pages that are not there yet are
brought by a few streams, each with a readahead of its own, instead of one page fault after another. Knows nothing of
what files mean.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14; mmap has no name for it
_STREAMS = 4
_STREAM_BYTES = 64 * 2**20  # at least, for each
_SAMPLES = 256


def mapped_whole(path: Path) -> mmap.mmap | None:
    """Return a file's bytes, in memory when this returns; None where the system cannot do that.

    Parameters
    ----------
    path : Path
        A local file.

    Returns
    -------
    mmap.mmap or None
        As long as the file. What is written to it is kept apart and changes neither the file nor another's mapping.
    """
    size_bytes = path.stat().st_size
    if size_bytes == 0 or not sys.platform.startswith("linux"):
        return None
    streams = min(_STREAMS, -(-size_bytes // _STREAM_BYTES))
    if streams > 1:
        page = mmap.ALLOCATIONGRANULARITY
        share_bytes = -(-size_bytes // streams // page) * page
        starts = range(0, size_bytes, share_bytes)
        with ThreadPoolExecutor(streams, thread_name_prefix="weights-read") as threads:
            list(threads.map(lambda start: _bring(path, start, min(share_bytes, size_bytes - start)), starts))
    mapped = _mapped(path)
    return mapped if mapped is not None and _populate(mapped, 0, size_bytes) else None


def cached_share(path: Path) -> float:
    """Return how much of a file the page cache holds, 0 .. 1, by a sample of its pages; 1 where that is not known."""
    mapped = _mapped(path) if sys.platform.startswith("linux") else None
    if mapped is None:
        return 1.0
    pages = -(-len(mapped) // mmap.PAGESIZE)
    base, held, found = ctypes.c_char.from_buffer(mapped), ctypes.c_ubyte(), 0
    sample = {number * pages // _SAMPLES for number in range(_SAMPLES)}
    for page in sample:
        address = ctypes.c_void_p(ctypes.addressof(base) + page * mmap.PAGESIZE)
        if _libc().mincore(address, ctypes.c_size_t(1), ctypes.byref(held)):
            return 1.0
        found += held.value & 1
    return found / len(sample)


def _bring(path: Path, start: int, size_bytes: int) -> None:
    mapped = _mapped(path)  # of its own: the kernel reads ahead by open file
    if mapped is not None:
        _populate(mapped, start, size_bytes)


def _mapped(path: Path) -> mmap.mmap | None:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):  # a file system without mappings; an empty file
        return None


def _populate(mapped: mmap.mmap, start: int, size_bytes: int) -> bool:
    """Bring pages into memory and into the mapping; False when the kernel is too old or the disk is broken."""
    base = ctypes.c_char.from_buffer(mapped)
    address = ctypes.c_void_p(ctypes.addressof(base) + start)
    return bool(_libc().madvise(address, ctypes.c_size_t(size_bytes), _POPULATE_READ) == 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)  # its calls let go of the interpreter's lock


__all__ = ["cached_share", "mapped_whole"]
