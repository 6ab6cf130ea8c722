"""Rows cut into shards of a limited count and size, without looking ahead.

Knows nothing of what a shard is written as. Where the cuts fall depends on the rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa

_ANY_SIZE = 1 << 62  # leaves room to add in 64 bits


@dataclass(frozen=True, slots=True)
class Limits:
    """What a shard holds at most.

    Parameters
    ----------
    images : int
        Rows, 1 or more.
    size_bytes : int or None
        Sum of the pictures' sizes; a single larger picture is a shard of its own. None for any size.
    """

    images: int
    size_bytes: int | None


def cut(tables: Iterable[pa.Table], limits: Limits) -> Iterator[tuple[int, Iterator[pa.Table]]]:
    """Cut rows into shards.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        Rows with `size_bytes`.
    limits : Limits
        What a shard holds at most.

    Yields
    ------
    number : int
        Of the shard, from 0.
    rows : iterator of pyarrow.Table
        Its rows, to be read before the next shard is asked for.
    """
    for number, pieces in groupby(_pieces(tables, limits), key=itemgetter(0)):
        yield number, (rows for _, rows in pieces)


def _pieces(tables: Iterable[pa.Table], limits: Limits) -> Iterator[tuple[int, pa.Table]]:
    number, images, size_bytes = 0, 0, 0
    most_bytes = _ANY_SIZE if limits.size_bytes is None else limits.size_bytes
    for table in tables:
        ends = np.cumsum(table.column("size_bytes").to_numpy())
        start, begun = 0, 0
        while start < table.num_rows:
            stop = int(np.searchsorted(ends, begun - size_bytes + most_bytes, side="right"))
            stop = min(max(stop, start + (images == 0)), start + limits.images - images, table.num_rows)
            if stop == start:
                number, images, size_bytes = number + 1, 0, 0
                continue
            yield number, table.slice(start, stop - start)
            images, size_bytes = images + stop - start, size_bytes + int(ends[stop - 1]) - begun
            start, begun = stop, int(ends[stop - 1])
