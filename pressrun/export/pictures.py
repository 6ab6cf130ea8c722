"""Pictures of a collection, read ahead and proven: each is what its row says or the export stops.

Knows nothing of formats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import pyarrow as pa

from pressrun.committed_picture import read_committed
from pressrun.errors import ExportFailed
from pressrun.read_ahead import Row, each_row, side_by_side
from pressrun.storage import Store

_REMEDY = "`pressrun verify --repair` drops the row, the next run renders it again"


def read_picture(store: Store, row: Row) -> bytes:
    """Return the bytes of a row's picture.

    Raises
    ------
    ExportFailed
        When the picture is missing or is not what the row says.
    """
    path, sha256 = row["path"], row["sha256"]
    try:
        data = read_committed(store, row)
    except FileNotFoundError:
        raise ExportFailed(f"{path} is missing in {store.location}, though the manifest names it; {_REMEDY}.") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ExportFailed(
            f"{path} in {store.location} has sha256 {digest[:12]}..., the manifest says {sha256[:12]}...; {_REMEDY}."
        )
    return data


def picture_ending(row: Row) -> str:
    """Return the ending that a row's picture has in the collection, without the dot."""
    return str(row["path"].rpartition(".")[2])


def picture_name(row: Row) -> str:
    """Return the file name of a row's picture: its id and ending."""
    return f"{row['image_id']}.{picture_ending(row)}"


def each_picture(store: Store, tables: Iterable[pa.Table]) -> Iterator[tuple[Row, bytes]]:
    """Yield every row with its picture, in order, reading a few ahead."""
    return side_by_side(lambda row: (row, read_picture(store, row)), each_row(tables))
