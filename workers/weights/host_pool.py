"""Weight files kept in this host's memory for all of its worker processes.

A file of the pool is a copy of a weight file in the host's memory file system, mapped by whoever uses it: private to
each, so that what one pipeline changes in place reaches no other. Knows nothing of tensors. Where plain reads are used
the kernel's page cache does the same without reserving memory; the pool is for hosts whose weights go past it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from workers.cache.pins import pinned, unpinned

_SUFFIX, _PARTIAL_SUFFIX = ".weights", ".partial"
_USERS_NAME = "users"


class HostPool:
    """Copies of weight files, the least recently used going first when the budget is full.

    Any process may be killed at any time: a copy appears whole or not at all, and what a dead process held is free.

    Parameters
    ----------
    root : Path
        Folder in a memory file system; made if missing, for this user only.
    budget_bytes : int
        What the copies may take together.

    Attributes
    ----------
    served_bytes : int
        Bytes of the files that `take` found in the pool.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self.root = root
        self.budget_bytes = budget_bytes
        self.served_bytes = 0

    def take(self, path: Path, fill: Callable[[mmap.mmap], None]) -> mmap.mmap | None:
        """Return a file's bytes from the pool, put there first where they are not; None where they do not fit.

        While the mapping is open the copy is not dropped.

        Parameters
        ----------
        path : Path
            The weight file. A file that was changed or replaced is another one.
        fill : callable
            Writes the file's bytes into the mapping that it is given; called once a host.

        Returns
        -------
        mmap.mmap or None
            As long as the file; written to, it changes nothing else.
        """
        if not self._is_ours():
            return None
        found = path.stat()
        copy = self.root / f"{found.st_dev:x}-{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}{_SUFFIX}"
        mapped = self._served(copy)
        if mapped is not None:
            return mapped
        with self._locked():  # others that want the same wait for it
            mapped = self._served(copy)
            if mapped is not None:
                return mapped
            return self._put(copy, found.st_size, fill) if self._make_room(found.st_size) else None

    def shrink_to(self, size_bytes: int) -> int:
        """Drop copies that nobody uses until the rest takes no more than this; return what the rest takes."""
        if not self._is_ours():
            return 0
        with self._locked():
            return self._shrink_to(size_bytes)

    def _locked(self) -> FileLock:
        return FileLock(self.root / "lock", mode=0o600)

    def _served(self, copy: Path) -> mmap.mmap | None:
        mapped = _mapped(copy)
        self.served_bytes += len(mapped) if mapped is not None else 0
        return mapped

    def _put(self, copy: Path, size_bytes: int, fill: Callable[[mmap.mmap], None]) -> mmap.mmap | None:
        partial = copy.with_suffix(_PARTIAL_SUFFIX)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
            with mmap.mmap(descriptor, size_bytes) as shared:
                fill(shared)
            partial.rename(copy)
        except OSError:  # the memory is needed elsewhere; a broken disk is told by who reads the file without a pool
            return None
        finally:
            os.close(descriptor)
            partial.unlink(missing_ok=True)
        return _mapped(copy)

    def _make_room(self, size_bytes: int) -> bool:
        if not 0 < size_bytes <= self.budget_bytes:
            return False
        for left in self.root.glob(f"*{_PARTIAL_SUFFIX}"):  # by a process that was killed: who fills holds the lock
            left.unlink()
        held_bytes = self._shrink_to(self.budget_bytes - size_bytes)
        free = os.statvfs(self.root)
        return held_bytes + size_bytes <= self.budget_bytes and size_bytes <= free.f_bavail * free.f_frsize

    def _shrink_to(self, size_bytes: int) -> int:
        copies = sorted(self.root.glob(f"*{_SUFFIX}"), key=lambda copy: copy.stat().st_mtime_ns)
        held_bytes = sum(copy.stat().st_size for copy in copies)
        for copy in copies:
            if held_bytes <= size_bytes:
                break
            copy_bytes = copy.stat().st_size
            if _drop_unused(copy):
                held_bytes -= copy_bytes
        return held_bytes

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `empty` from dropping copies, in any process; for a run that has the pool."""
        if not self._is_ours():
            yield
            return
        with pinned(self.root / _USERS_NAME):
            yield

    def empty(self) -> None:
        """Drop the copies that nobody uses, once no run has the pool."""
        if not self._is_ours():
            return
        with self._locked(), unpinned(self.root / _USERS_NAME) as is_free:
            if is_free:  # of several that end at once the last finds it so, as each waits for the one before
                self._shrink_to(0)

    def _is_ours(self) -> bool:
        """Make the folder; False where it is another user's, or there is no such file system."""
        try:
            self.root.mkdir(mode=0o700, exist_ok=True)
            found = self.root.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _mapped(copy: Path) -> mmap.mmap | None:
    try:
        descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink == 0:  # dropped between the two calls
            return None
        os.utime(descriptor)  # the time of its last use
        # The mapping keeps a duplicate of the descriptor, and with it the lock, until it is closed or its process ends.
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)


def _drop_unused(copy: Path) -> bool:
    descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        copy.unlink()
        return True
    finally:
        os.close(descriptor)


__all__ = ["HostPool"]
