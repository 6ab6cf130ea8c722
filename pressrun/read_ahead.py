"""Rows one by one, and what is made of each, a few of them at once and in order.

Knows nothing of what is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa

_AT_ONCE = 16
_ROWS_AT_ONCE = 1000
Row = dict[str, Any]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each_row(tables: Iterable[pa.Table]) -> Iterator[Row]:
    """Yield rows one by one, turning few of them into Python objects at a time."""
    for table in tables:
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from batch.to_pylist()


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
