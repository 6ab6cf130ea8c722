"""How many pictures each bucket of a job renders at once.

Knows nothing of how the most was measured. A size follows from the whole job, held pictures included, so that a run
that was interrupted goes on with the same one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.batch import BUCKET_FIELDS

Shape = tuple[int, int]  # width_px, height_px
Bucket = tuple[object, ...]  # the values of BUCKET_FIELDS
_WIDTH, _HEIGHT = BUCKET_FIELDS.index("width_px"), BUCKET_FIELDS.index("height_px")


def shape_of(bucket: Bucket) -> Shape:
    """Return a bucket's picture size."""
    return int(str(bucket[_WIDTH])), int(str(bucket[_HEIGHT]))


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """Batch sizes by bucket.

    Parameters
    ----------
    most : mapping
        The batch size of every picture size, 1 or more.
    asked : mapping
        Distinct pictures that the job asks for, by bucket. These are divided evenly over as few batches as there must
        be, so that next to none is padded; a bucket that is not named has batches of the full size.
    """

    most: Mapping[Shape, int]
    asked: Mapping[Bucket, int] = field(default_factory=dict)

    def of(self, bucket: Bucket) -> int:
        """Return a bucket's batch size."""
        most, images = self.most[shape_of(bucket)], self.asked.get(bucket)
        return most if not images else math.ceil(images / math.ceil(images / most))


def count_buckets(
    requests: pa.Table, chosen: npt.NDArray[np.bool_] | None = None, names: Sequence[str] = BUCKET_FIELDS
) -> dict[Bucket, int]:
    """Return how many rows each bucket has.

    Parameters
    ----------
    requests : pyarrow.Table
        Any rows.
    chosen : ndarray of bool or None
        (rows,), which of them count; None counts all.
    names : sequence of str
        The columns whose values make a bucket.
    """
    counts: Counter[Bucket] = Counter()
    for rows in _chosen_rows(requests.select(list(names)), chosen):
        groups = pa.Table.from_batches([rows]).group_by(list(names)).aggregate([([], "count_all")])
        columns = [groups.column(name).to_pylist() for name in (*names, "count_all")]
        for *bucket, count in zip(*columns, strict=True):
            counts[tuple(bucket)] += count
    return dict(counts)


def run_ends(requests: pa.Table, names: Sequence[str]) -> Iterator[int]:
    """Yield the row after each run of rows that are equal in some columns."""
    start, last = 0, None
    for rows in requests.select(list(names)).to_batches():
        if rows.num_rows == 0:
            continue
        if last is not None and not last.equals(rows.slice(0, 1)):
            yield start
        changed = pa.repeat(False, rows.num_rows - 1)
        for column in rows.columns:
            changed = pc.or_(changed, pc.not_equal(column.slice(1), column.slice(0, rows.num_rows - 1)))
        yield from (start + end + 1 for end in pc.indices_nonzero(changed).to_pylist())
        start, last = start + rows.num_rows, rows.slice(rows.num_rows - 1)
    if start:
        yield start


def bucket_at(requests: pa.Table, row: int) -> Bucket:
    """Return the bucket that a row belongs to."""
    return tuple(requests.column(name)[row].as_py() for name in BUCKET_FIELDS)


def _chosen_rows(rows: pa.Table, chosen: npt.NDArray[np.bool_] | None) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in rows.to_batches():
        yield batch if chosen is None else batch.filter(pa.array(chosen[start : start + batch.num_rows]))
        start += batch.num_rows
