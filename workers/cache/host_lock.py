"""A lock that one process of a host holds until it ends, however it ends.

Knows nothing of what the holder does.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

_open: set[int] = set()  # descriptors that have the lock or wait for it; a forked child's copies would keep it
_opening = threading.Lock()


class HostLock:
    """An flock on a file; the kernel hands it on when its holder dies, though children of it may live on.

    Parameters
    ----------
    path : Path
        The file; made if missing, removed by the holder's `release`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._given_up = threading.Event()
        self._guard = threading.RLock()  # of what follows from having the lock, against its release

    def when_held(self, call: Callable[[], None], cannot: Callable[[Exception], None]) -> None:
        """Call once the lock is this process's, from a thread of its own; never after `release`, which waits for it.

        Parameters
        ----------
        call : callable
            What to do then.
        cannot : callable
            Is told why the lock cannot be had, or what `call` raised, before others have their turn.
        """
        threading.Thread(target=self._stand, args=(call, cannot), name="cache-lock", daemon=True).start()

    def release(self) -> None:
        """Let go of the lock, or stop waiting for it."""
        self._given_up.set()
        with self._guard:
            self._let_go()

    def _stand(self, call: Callable[[], None], cannot: Callable[[Exception], None]) -> None:
        try:
            self._wait(call)
        except Exception as error:
            with self._guard:
                cannot(error)
                self._let_go()

    def _wait(self, call: Callable[[], None]) -> None:
        while not self._given_up.is_set():
            descriptor = self._locked()
            with self._guard:
                if self._given_up.is_set() or not self._is_path_of(descriptor):
                    _close(descriptor)  # given up, or the last holder removed the file: there is a new one to lock
                    continue
                self._descriptor = descriptor
                call()
                return

    def _locked(self) -> int:
        with _opening:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _open.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            _close(descriptor)
            raise
        return descriptor

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor in _open:  # else none was held, or it was by the process that this one was forked from
            self._path.unlink(missing_ok=True)  # while it is still held, so that nobody's lock is removed
            _close(descriptor)

    def _is_path_of(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


def _close(descriptor: int) -> None:
    with _opening:
        _open.discard(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()
    _opening.release()


# A fork waits until every descriptor that is open is known.
os.register_at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_close_in_child)

__all__ = ["HostLock"]
