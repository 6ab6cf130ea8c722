"""What an index is trained and measured on: a sample of the vectors, queries near them, and the true answers.

Knows nothing of FAISS, of files, or of how an index is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pressrun.errors import InvalidCollection
from pressrun.index.recipe import MOST_LISTS

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

TRAINING_ROWS_A_LIST = 40  # FAISS warns below 39
_SURVEY_ROWS = MOST_LISTS * TRAINING_ROWS_A_LIST
_ROWS_AT_ONCE = 16_384
_QUERIES = 200
_QUERY_NOISE = 0.3  # length of what is added to a stored vector, so that a query is near pictures but none of them


class ExactNeighbours:
    """The true nearest rows of some queries, among vectors seen chunk by chunk.

    Parameters
    ----------
    queries : numpy.ndarray
        (Q, D) float32.
    count : int
        Neighbours kept a query.

    Attributes
    ----------
    positions : numpy.ndarray
        (Q, count) int64: the best so far, best first, counted over all vectors seen.
    """

    def __init__(self, queries: Vectors, count: int) -> None:
        self.queries = queries
        self.positions: Positions = np.empty((len(queries), 0), np.int64)
        self._scores: Vectors = np.empty((len(queries), 0), np.float32)
        self._count = count
        self._seen = 0

    def see(self, vectors: Vectors) -> None:
        """Take the next vectors, (n, D), into account."""
        scores = self.queries @ vectors.T
        likely = _best(scores, self._count)
        scores = np.hstack([self._scores, np.take_along_axis(scores, likely, axis=1)])
        positions = np.hstack([self.positions, likely + self._seen])
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._count]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self.positions = np.take_along_axis(positions, best, axis=1)
        self._seen += len(vectors)


def _best(scores: Vectors, count: int) -> Positions:
    """Return the columns of the `count` highest scores of each row, in no order."""
    if count >= scores.shape[1]:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, -count, axis=1)[:, -count:]


def read_vectors(parts: Iterable[pa.Table], dimension: int) -> Iterator[tuple[pa.ChunkedArray, Vectors]]:
    """Yield the ids and the (n, D) float32 vectors of every part, null ones left out, 16,384 rows at most at a time."""
    for part in parts:
        held = part.select(["image_id", "embedding"]).drop_null()
        length = part.schema.field("embedding").type.list_size
        if length != dimension:
            raise InvalidCollection(
                f"Image {part.column('image_id')[0]} has an embedding of {length} numbers, the index {dimension}; "
                "embed a collection with one model, or use a new collection."
            )
        for at in range(0, held.num_rows, _ROWS_AT_ONCE):
            rows = held.slice(at, _ROWS_AT_ONCE)
            flat = rows.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield rows.column("image_id"), flat.astype(np.float32).reshape(-1, dimension)


def survey(parts: Iterable[pa.Table], dimension: int) -> tuple[int, Vectors]:
    """Count the rows and keep a sample of them: every row, then every second, every fourth, as they grow too many."""
    rows, stride, kept = 0, 1, list[Vectors]()
    for _, vectors in read_vectors(parts, dimension):
        kept.append(vectors[-rows % stride :: stride].astype(np.float16))
        rows += len(vectors)
        while sum(map(len, kept)) > _SURVEY_ROWS:
            kept = [np.concatenate(kept)[::2]]
            stride *= 2
    return rows, np.concatenate(kept or [np.empty((0, dimension), np.float16)]).astype(np.float32)


def evenly(sample: Vectors, count: int) -> Vectors:
    """Return about `count` rows, taken evenly from the whole sample."""
    return np.ascontiguousarray(sample[:: max(1, len(sample) // count)])


def near_queries(sample: Vectors) -> Vectors:
    """Return queries as a search would bring: near the pictures, but none of them. The same ones every time."""
    chosen = evenly(sample, _QUERIES)
    noise = np.random.default_rng(0).normal(size=chosen.shape)
    noise *= _QUERY_NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    moved = chosen + noise
    queries: Vectors = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return queries
