"""A committed picture, wherever it is by now: a run that goes on moves the pictures of its batches into larger tars.

Knows nothing of what the bytes are worth; whoever reads them compares them with their row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pressrun import manifest
from pressrun.picture_place import home_of, read_picture
from pressrun.storage import Store
from pressrun.tar_path import TarPath


def read_committed(store: Store, row: Mapping[str, Any]) -> bytes:
    """Return the bytes of a row's picture, looked for again where its row is now if it has gone from where it was.

    Parameters
    ----------
    store : Store
        The row's collection.
    row : mapping
        With `image_id` and `path`.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    try:
        return read_picture(store, row["path"])
    except FileNotFoundError:
        home, path = home_of(store, row["path"])
        if TarPath.of(path) is None:
            raise
        found = manifest.find_rows(home, [row["image_id"]], ["path"])
        paths = found.column("path").to_pylist() if found.num_rows else []
        if paths in ([], [path]):
            raise
        return read_picture(home, paths[0])
