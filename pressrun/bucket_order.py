"""Requests brought into the order in which they are drawn: bucket after bucket, each in the order of the prompt file.

What takes a worker time to switch changes least often; then the costly pictures come first, since whoever is given the
last batch keeps all others waiting.

Knows nothing of why requests were chosen. Reads a table that is mapped from disk chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.batch import BUCKET_FIELDS
from pressrun.spill import spilled

_SWITCHED_FIELDS = ("model", "adapters")
_WORK_FIELDS = ("width_px", "height_px", "steps")
_ROWS_AT_ONCE = 16_384  # as many texts of 64 KiB fit Arrow's 2 GiB a column

Positions = npt.NDArray[np.int64]


def in_bucket_order(requests: pa.Table, chosen: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the chosen requests, model after model, bucket after bucket, each ordered by position.

    Parameters
    ----------
    requests : pyarrow.Table
        Requests of which none has a null in a bucket field.
    chosen : ndarray of bool
        (rows,), which of them are wanted.
    """
    varying = [
        name
        for name in ("model", *BUCKET_FIELDS)
        if name in requests.column_names and not _is_constant(requests.column(name))
    ]
    keys = {name: _key(requests.column(name), chosen) for name in varying}
    if any(name in _WORK_FIELDS for name in varying):
        keys["work"] = -_work(requests, chosen)
    in_order = [keys[name] for name in (*_SWITCHED_FIELDS, "work", *BUCKET_FIELDS) if name in keys]
    if not keys and chosen.all():
        return requests
    positions = np.flatnonzero(chosen)
    if keys:
        positions = positions[np.lexsort(in_order[::-1])]  # stable, the last key first
    return spilled(rows_at(requests, positions), requests.schema)


def rows_at(table: pa.Table, positions: Positions) -> Iterator[pa.RecordBatch]:
    """Yield the rows at some positions, in their order.

    `Table.take` would join the chunks of every text column first, a copy of the whole table.
    """
    chunks = table.to_batches()
    starts = np.cumsum([0, *(chunk.num_rows for chunk in chunks)])
    for first in range(0, len(positions), _ROWS_AT_ONCE):
        wanted = positions[first : first + _ROWS_AT_ONCE]
        holders = np.searchsorted(starts, wanted, side="right") - 1
        by_holder = np.argsort(holders, kind="stable")
        cuts = np.flatnonzero(np.diff(holders[by_holder])) + 1
        pieces = [
            chunks[holders[piece[0]]].take(pa.array(wanted[piece] - starts[holders[piece[0]]]))
            for piece in np.split(by_holder, cuts)
        ]
        yield _rearranged(pieces, by_holder)


def _rearranged(pieces: list[pa.RecordBatch], places: Positions) -> pa.RecordBatch:
    """Return the rows of all pieces, the n-th of them at the n-th place."""
    rows = pa.concat_batches(pieces)
    if (np.diff(places) > 0).all():
        return rows
    return rows.take(pa.array(np.argsort(places)))


def _work(requests: pa.Table, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how much there is to draw in each chosen picture: its pixels times its steps."""
    factors = [_key(requests.column(name), chosen).astype(np.int64) for name in _WORK_FIELDS]
    work: npt.NDArray[np.int64] = np.multiply.reduce(factors)
    return work


def _is_constant(column: pa.ChunkedArray) -> bool:
    ends = pc.min_max(column).as_py()
    return bool(ends["min"] == ends["max"])


def _key(column: pa.ChunkedArray, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.generic]:
    """Return the chosen values as numbers that sort as the values do."""
    known: dict[str, int] = {}
    pieces: list[npt.NDArray[np.generic]] = []
    start = 0
    for chunk in column.iterchunks():
        values = chunk.filter(pa.array(chosen[start : start + len(chunk)]))
        start += len(chunk)
        pieces.append(_codes(values, known) if pa.types.is_string(column.type) else values.to_numpy())
    key = np.concatenate(pieces)
    if not known:
        return key
    ranks = np.empty(len(known), np.int32)
    ranks[[known[text] for text in sorted(known)]] = np.arange(len(known))
    ranked: npt.NDArray[np.generic] = ranks[key]
    return ranked


def _codes(texts: pa.Array, known: dict[str, int]) -> npt.NDArray[np.int32]:
    """Return texts as numbers in the order in which they were met, and note new ones."""
    encoded = texts.dictionary_encode()
    numbers = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
    codes: npt.NDArray[np.int32] = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
    return codes
