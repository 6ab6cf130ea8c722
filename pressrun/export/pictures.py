"""Pictures of a collection, read ahead and proven: each is what its row says or the export stops.

Knows nothing of formats.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa

from pressrun.errors import ExportFailed
from pressrun.picture_place import read_picture as read_bytes
from pressrun.storage import Store

_AT_ONCE = 16
_ROWS_AT_ONCE = 1000
_REMEDY = "`pressrun verify --repair` drops the row, the next run renders it again"
Row = dict[str, Any]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_picture(store: Store, row: Row) -> bytes:
    """Return the bytes of a row's picture.

    Raises
    ------
    ExportFailed
        When the picture is missing or is not what the row says.
    """
    path, sha256 = row["path"], row["sha256"]
    try:
        data = read_bytes(store, path)
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


def each_row(tables: Iterable[pa.Table]) -> Iterator[Row]:
    """Yield rows one by one, turning few of them into Python objects at a time."""
    for table in tables:
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def each_picture(store: Store, tables: Iterable[pa.Table]) -> Iterator[tuple[Row, bytes]]:
    """Yield every row with its picture, in order, reading a few ahead."""
    return side_by_side(lambda row: (row, read_picture(store, row)), each_row(tables))


def side_by_side(call: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield what `call` makes of each item, in order, calling it for a few items at once and no more than that."""
    coming: deque[Future[_Result]] = deque()
    threads = ThreadPoolExecutor(_AT_ONCE)
    try:
        for item in items:
            coming.append(threads.submit(call, item))
            if len(coming) > _AT_ONCE:  # bounds what is held in memory
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
