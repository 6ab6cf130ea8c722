"""The cache folder that a command names, made before anything is brought there. Knows nothing of what lies in it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from pressrun.errors import InvalidJob
from workers.cache.private_folder import TEMPORARY, make_private


def writable_folder(folder: Path) -> Path:
    """Return a cache folder's absolute path, and make it if it is missing, for this user only.

    Raises
    ------
    InvalidJob
        If it cannot be made or written, or others may write there.
    """
    root = folder.expanduser().absolute()
    try:
        make_private(root)
        with TemporaryFile(dir=root, prefix=TEMPORARY):
            return root
    except OSError as error:
        raise InvalidJob(
            f"The cache folder {root} cannot be made or written ({error.strerror}); name one on this host's disk that "
            "you may write with --folder."
        ) from error


__all__ = ["writable_folder"]
