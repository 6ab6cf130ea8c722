"""A cache folder that is this user's alone. Knows nothing of what lies in it.

Who may write to the folder can put another revision in the place of one, so it is made, or taken, for this user only.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_OTHERS, _OTHERS_WRITE = 0o077, 0o022
CACHE_SIGN = "budget.lock"  # stands in every folder that a model was brought to


def make_private(root: Path) -> Path:
    """Make a cache folder for this user only, or make the one that is there so, and return it.

    A folder that holds other things keeps its mode: what a cache puts there is this user's only in any case.

    Raises
    ------
    OSError
        If it cannot be made, is another user's, or holds other things and others may write there.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(
            errno.EPERM,
            f"it belongs to user {found.st_uid}, but this is user {os.geteuid()}; name a folder of this user's, on a "
            "mounted volume one inside it",
            str(root),
        )
    if not found.st_mode & _OTHERS:
        return root
    if (root / CACHE_SIGN).exists() or not os.listdir(root):
        root.chmod(0o700)
    elif found.st_mode & _OTHERS_WRITE:
        raise PermissionError(
            errno.EPERM,
            f"its mode is {found.st_mode & 0o777:o}, so that other users could change models, and it holds other "
            "things than models; name an empty folder, or take the others' rights away",
            str(root),
        )
    return root


__all__ = ["make_private"]
