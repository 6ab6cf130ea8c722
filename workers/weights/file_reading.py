"""A file's bytes read by several threads, past the page cache where the file lies on a disk that allows it.

Knows nothing of what the bytes mean, nor of devices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pressrun.errors import InvalidModel

THREADS = 4
BLOCK_BYTES = 8 * 2**20
# Where a direct read begins and how long it is, in memory and in the file; no disk asks for more.
ALIGNMENT_BYTES = 4096


class FileReader:
    """An open file that several threads may read from at once.

    Parameters
    ----------
    path : Path
        A local file.
    direct : bool
        Read past the page cache, into memory that begins at a page. Where the file system does not do that, or refuses
        it half-way, reads are plain ones.

    Attributes
    ----------
    size_bytes : int
        The file's length.
    """

    def __init__(self, path: Path, direct: bool) -> None:
        self._path = path
        self._plain = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._direct = _open_direct(path) if direct else None
        self._may_direct = self._direct is not None
        self.size_bytes = os.fstat(self._plain).st_size

    def __enter__(self) -> FileReader:
        """Return the reader; it closes the file at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        for descriptor in (self._plain, self._direct):
            if descriptor is not None:
                os.close(descriptor)

    @property
    def is_direct(self) -> bool:
        """Whether reads still go past the page cache."""
        return self._may_direct

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill a piece of memory with the bytes from `start` on.

        Raises
        ------
        InvalidModel
            When the file ends before.
        """
        done = self._read_direct(start, target) if self._may_direct else 0
        while done < len(target):
            count = os.preadv(self._plain, [target[done:]], start + done)
            if count == 0:
                raise InvalidModel(
                    f"{self._path.name} ends at byte {start + done}, but {start + len(target)} were expected: it was "
                    "cut short meanwhile; copy the file again."
                )
            done += count

    def _read_direct(self, start: int, target: memoryview) -> int:
        """Return how much was read; what does not fill a unit of the disk's, or is refused, is left."""
        assert self._direct is not None
        whole, done = len(target) // ALIGNMENT_BYTES * ALIGNMENT_BYTES, 0
        while done < whole:
            try:
                count = os.preadv(self._direct, [target[done:whole]], start + done)
            except OSError:  # the plain read tells a broken disk from one that reads no other way
                self._may_direct = False
                return done
            done += count
            if count % ALIGNMENT_BYTES or count == 0:
                return done
        return done


def read_in_blocks(read: Callable[[int, int], None], size_bytes: int, threads: int = THREADS) -> None:
    """Call `read(start, stop)` for every block of a file, several at once.

    Raises
    ------
    Exception
        What the first call that failed raised; blocks not begun by then are left out.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="weights-read") as pool:
        calls = [pool.submit(read, start, stop) for start, stop in _blocks(size_bytes)]
        try:
            for call in calls:
                call.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _blocks(size_bytes: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size_bytes, BLOCK_BYTES):
        yield start, min(start + BLOCK_BYTES, size_bytes)


def _open_direct(path: Path) -> int | None:
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flag)
    except OSError:
        return None


__all__ = ["ALIGNMENT_BYTES", "BLOCK_BYTES", "THREADS", "FileReader", "read_in_blocks"]
