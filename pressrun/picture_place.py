"""Where a row's picture is, and its bytes: the one way to a picture, whatever the collection's layout.

Knows nothing of what pictures show, nor of rows that have moved since they were read (`pressrun.manifest`).
"""

from __future__ import annotations

from pressrun.storage import Store
from pressrun.tar_path import read_named


def read_picture(store: Store, path: str) -> bytes:
    """Return the bytes of a row's picture.

    Parameters
    ----------
    store : Store
        The row's collection.
    path : str
        The row's path: an object of its own, or a member of a tar.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    return read_named(store, path)
