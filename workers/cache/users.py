"""Who uses a revision, for people: a note a user, which counts for as long as its writer keeps it locked.

Knows nothing of what keeps a revision from being dropped (`workers.cache.pins`). The kernel lets go of a lock when its
process ends, so notes of the dead are told apart from others, and removed by whoever looks.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def noted_user(root: Path, revision: str, user: str) -> Iterator[None]:
    """Have `users_of` name a user of a revision meanwhile."""
    path = root / f"{revision}.user-{secrets.token_hex(8)}"
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.write(descriptor, user.encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def users_of(root: Path, revision: str) -> tuple[str, ...]:
    """Return who uses a revision now, each once."""
    found = set()
    for path in root.glob(f"{revision}.user-*"):
        with suppress(FileNotFoundError):  # it has just ended
            found.add(_living_user(path))
    return tuple(sorted(found - {""}))


def _living_user(path: Path) -> str:
    descriptor = os.open(path, _FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 1000, 0).decode(errors="replace")
    else:
        path.unlink(missing_ok=True)
        return ""
    finally:
        os.close(descriptor)


__all__ = ["noted_user", "users_of"]
