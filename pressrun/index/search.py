"""Search: the pictures nearest to a vector, among the rows that fulfil some conditions.

Knows nothing of what made the vector, nor of how the index or the manifest is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.errors import InvalidQuery
from pressrun.index.query import Condition, matching
from pressrun.index.sample import Positions, Vectors
from pressrun.index.vectors import Index

_FIRST_SURPLUS = 16  # fetched beyond k, to settle ties at the end and to pass over rows that are gone


@dataclass(frozen=True, slots=True)
class Hit:
    """One picture found.

    Parameters
    ----------
    image_id : str
        The picture.
    path : str
        Its name in the collection, or its whole address where it was taken over by reference.
    prompt : str
        What was asked for.
    score : float
        Inner product with the query, -1 .. 1; 1 is the same.
    row : dict
        The other columns of its manifest row that were given.
    """

    image_id: str
    path: str
    prompt: str
    score: float
    row: dict[str, Any]


def search(
    index: Index,
    rows: pa.Table,
    vector: Vectors,
    k: int,
    where: Sequence[Condition] = (),
    threads: int = 1,
) -> list[Hit]:
    """Find the pictures nearest to a vector.

    Parameters
    ----------
    index : Index
        The collection's.
    rows : pyarrow.Table
        Manifest rows: `image_id`, `path`, `prompt`, the columns of `where`, and any to hand through.
    vector : numpy.ndarray
        (D,) float32, L2-normalised, made by the same embedder as the index.
    k : int
        Pictures wanted, 1 or more.
    where : sequence of Condition
        What every hit must fulfil. With conditions the search is complete: k hits whenever k exist.
    threads : int
        OpenMP threads.

    Returns
    -------
    list of Hit
        Best first, equal scores by id; at most k. Pictures that are not in `rows` are passed over.

    Raises
    ------
    InvalidQuery
        When k is less than 1 or the vector has another length than the index.
    """
    if k < 1:
        raise InvalidQuery(f"{k} pictures cannot be searched for; ask for 1 or more.")
    if vector.shape != (index.dimension,):
        raise InvalidQuery(
            f"The query has {vector.size} numbers but the index {index.dimension}; "
            "embed it with the model that embedded the collection."
        )
    chosen = rows.filter(pa.array(matching(rows, where))) if where else rows
    among = index.positions_of(chosen.column("image_id")) if where else None
    found = _nearest_rows(index, chosen, vector, k, among, threads)
    return _hits(found, k)


def _nearest_rows(
    index: Index, rows: pa.Table, vector: Vectors, k: int, among: Positions | None, threads: int
) -> pa.Table:
    """Return at least the k best rows with a `score`, more where the k-th is one of several equals."""
    within = index.rows if among is None else len(among)
    count = k + _FIRST_SURPLUS
    while True:
        scores, positions = index.nearest(vector[None], count, among, threads)
        held = positions[0] >= 0
        ids = index.ids.take(pa.array(positions[0][held]))
        places = pc.index_in(ids, value_set=rows.column("image_id"))
        found = rows.take(places.drop_null()).append_column(
            "score", pa.array(scores[0][held][places.is_valid().to_numpy()], pa.float32())
        )
        if _is_settled(found, k) or (held.all() and count >= within):
            return found
        if not held.all():  # the lists visited hold too few: look at all of them
            among = np.arange(index.rows)
        count *= 2


def _is_settled(found: pa.Table, k: int) -> bool:
    """Return whether the k best are known: there are more, and the last is worse than the k-th."""
    if found.num_rows <= k:
        return False
    scores = np.sort(found.column("score").to_numpy())[::-1]
    return bool(scores[k - 1] > scores[-1])


def _hits(found: pa.Table, k: int) -> list[Hit]:
    best = found.sort_by([("score", "descending"), ("image_id", "ascending")]).slice(0, k)
    shown = best.drop_columns([name for name in ("embedding",) if name in best.column_names])
    return [_hit(row) for row in shown.to_pylist()]


def _hit(row: dict[str, Any]) -> Hit:
    image_id, path, prompt, score = (row.pop(name) for name in ("image_id", "path", "prompt", "score"))
    return Hit(image_id, path, prompt, score, row)
