"""Where a row's picture is: in its own collection, or, taken over by reference, in another one; and its bytes.

Knows nothing of what pictures show, nor of rows that have moved since they were read (`pressrun.committed_picture`). A
row's path is the picture's name in its collection, or a reference: its whole address elsewhere, without credentials.
Those are the collection's own options where both are at the same service or host, else what the environment gives.
"""

from __future__ import annotations

from pressrun.location import Location
from pressrun.storage import Store, reached
from pressrun.tar_path import read_named

_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")  # a URL's first name is no host there
_PARTS_OF_A_NAME = 3  # images/ab/<image_id>.png, shards/<part>-00000.tar#512+99/<image_id>.png


def is_reference(path: str) -> bool:
    """Return whether a row's path leads to another collection."""
    return path.startswith("/") or "://" in path


def address(store: Store, path: str) -> str:
    """Return where the picture of a row is, for people and for rows of other collections.

    Parameters
    ----------
    store : Store
        The row's collection.
    path : str
        The row's path.
    """
    return path if is_reference(path) else f"{str(store.location).rstrip('/')}/{path}"


def read_picture(store: Store, path: str) -> bytes:
    """Return the bytes of a row's picture.

    Parameters
    ----------
    store : Store
        The row's collection.
    path : str
        The row's path.

    Raises
    ------
    FileNotFoundError
        When there is none.
    InvalidCollection
        When the collection that a reference leads to cannot be reached.
    """
    if not is_reference(path):
        return read_named(store, path)
    home, name = home_of(store, path)
    data = reached(home, lambda: _read_or_none(home, name))
    if data is None:
        raise FileNotFoundError(f"there is no picture {path}")
    return data


def home_of(store: Store, path: str) -> tuple[Store, str]:
    """Return the collection that a row's path leads to, and the picture's path there."""
    if not is_reference(path):
        return store, path
    root, *name = path.rsplit("/", _PARTS_OF_A_NAME)
    own = store.location
    options = own.options if _who_is_asked(root) == _who_is_asked(own.url) else {}
    return Store(Location(root, options)), "/".join(name)


def _read_or_none(home: Store, name: str) -> bytes | None:
    try:
        return read_named(home, name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _who_is_asked(url: str) -> str:
    """Return whom credentials for a URL are meant for: a bucket's service, or the host that the URL names."""
    scheme, found, rest = url.partition("://")
    if not found:
        return ""
    return scheme if scheme in _BUCKETS else f"{scheme}://{rest.partition('/')[0]}"
