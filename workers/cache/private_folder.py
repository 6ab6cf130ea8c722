"""A cache folder that is this user's alone. Of what lies in it, knows only what a cache's own things are called.

Who may write to the folder can put another revision in the place of one, so it is made, or taken, for this user only.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

_OTHERS, _OTHERS_WRITE = 0o077, 0o022
TEMPORARY = ".note-"  # how names of what is written here for a moment begin
_OWN = re.compile(
    r"budget\.(lock|json)|keeper-[0-9a-f-]+\.lock|\.note-\w+|"
    r"[0-9a-f]{32}(\.(lock|pin|model\.json|user-[0-9a-f]+))?"  # a revision's
)


def make_private(root: Path) -> Path:
    """Make a cache folder for this user only, or make the one that is there so, and return it.

    A folder that holds other things keeps its mode: what a cache puts there is this user's only in any case.

    Raises
    ------
    OSError
        If it cannot be made, is another user's, or others may write there and it cannot be taken from them.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.stat()
    if found.st_uid != os.geteuid() and found.st_uid != _owner_of_new(root):
        raise PermissionError(
            errno.EPERM,
            f"it belongs to user {found.st_uid}, but this is user {os.geteuid()}; name a folder of this user's, on a "
            "mounted volume one inside it",
            str(root),
        )
    problem = _not_taken(root, found.st_uid) if found.st_mode & _OTHERS else ""
    mode = root.stat().st_mode  # another process may have taken it meanwhile
    if problem and mode & _OTHERS_WRITE:
        raise PermissionError(
            errno.EPERM,
            f"its mode is {mode & 0o777:o}, so that other users could change models, and {problem}; name an empty "
            "folder, or take the others' rights away",
            str(root),
        )
    return root


def _owner_of_new(root: Path) -> int:
    """Return whose a new file there is: mounts may give all that a user makes, this folder too, to another one."""
    try:
        with TemporaryFile(dir=root, prefix=TEMPORARY) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:
        return os.geteuid()


def _not_taken(root: Path, owner: int) -> str:
    """Take a folder that holds nothing but a cache from all others, and return "", or why that cannot be."""
    others = sorted(_others_things(root, owner))
    if others:
        return f"it holds other things than models, as {others[0]!r}"
    try:
        root.chmod(0o700)
    except OSError as error:  # some mounts know no modes
        return f"that cannot be changed ({error.strerror})"
    return ""


def _others_things(root: Path, owner: int) -> set[str]:
    found = set()
    with os.scandir(root) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process has just removed it
                if not _OWN.fullmatch(entry.name) or entry.stat(follow_symlinks=False).st_uid != owner:
                    found.add(entry.name)
    return found


__all__ = ["TEMPORARY", "make_private"]
