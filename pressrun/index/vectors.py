"""The vector index: which pictures lie nearest to a vector.

The one module that imports FAISS. Knows nothing of files, of the manifest's other columns, or of what made the
embeddings. A position in the FAISS index means nothing outside; the ids beside it say whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.errors import InvalidCollection
from pressrun.index.recipe import IndexRecipe, IndexTuning, index_recipe
from pressrun.index.sample import (
    TRAINING_ROWS_A_LIST,
    ExactNeighbours,
    Positions,
    Vectors,
    evenly,
    near_queries,
    read_vectors,
    survey,
)

_NEIGHBOURS = 10
_RECALL_WANTED = 0.95


class Index:
    """Vectors and the ids of their pictures, searched by inner product.

    Parameters
    ----------
    ids : pyarrow.ChunkedArray
        Image ids; the id at position i belongs to vector i.
    vectors : faiss.Index
        As many vectors as ids.
    recipe : IndexRecipe
        How `vectors` was built.
    tuning : IndexTuning
        How it is searched.

    Raises
    ------
    InvalidCollection
        When there are more ids than vectors or fewer.
    """

    def __init__(self, ids: pa.ChunkedArray, vectors: faiss.Index, recipe: IndexRecipe, tuning: IndexTuning) -> None:
        if len(ids) != vectors.ntotal:
            raise InvalidCollection(
                f"The index has {vectors.ntotal} vectors but {len(ids)} ids; delete the index folder and rerun the job."
            )
        self.ids = ids
        self.recipe = recipe
        self.tuning = tuning
        self._vectors = vectors

    @classmethod
    def from_bytes(cls, data: bytes, ids: pa.ChunkedArray, recipe: IndexRecipe, tuning: IndexTuning) -> Index:
        """Return the index that `to_bytes` wrote, with its ids."""
        return cls(ids, faiss.deserialize_index(np.frombuffer(data, np.uint8)), recipe, tuning)

    def to_bytes(self) -> bytes:
        """Return the vectors in FAISS's own format; the ids are not in it."""
        data: bytes = faiss.serialize_index(self._vectors).tobytes()
        return data

    @property
    def rows(self) -> int:
        """Pictures held."""
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self._vectors.d)

    def extend(self, parts: Iterable[pa.Table], threads: int = 1) -> None:
        """Add the rows of parts (image_id, embedding); rows whose embedding is null are left out.

        Raises
        ------
        InvalidCollection
            When an id is there already, or an embedding has another length.
        """
        faiss.omp_set_num_threads(threads)
        for ids, vectors in read_vectors(parts, self.dimension):
            self._add(ids, vectors)
        self._refuse_doubles()

    def nearest(
        self, queries: Vectors, count: int, among: Positions | None = None, threads: int = 1
    ) -> tuple[Vectors, Positions]:
        """Return the positions nearest to each query, best first.

        Parameters
        ----------
        queries : numpy.ndarray
            (Q, D) float32, L2-normalised.
        count : int
            Neighbours wanted; there are fewer when there are fewer rows.
        among : numpy.ndarray or None
            The only positions allowed; they are then searched completely, whatever the tuning.
        threads : int
            OpenMP threads.

        Returns
        -------
        scores : numpy.ndarray
            (Q, n) float32 inner products; meaningless where the position is -1.
        positions : numpy.ndarray
            (Q, n) int64; -1 where approximate search found fewer than n.
        """
        faiss.omp_set_num_threads(threads)
        within = self.rows if among is None else len(among)
        count = min(count, within)
        if count == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        probes = self.tuning.probes if among is None else self.recipe.lists
        scores, positions = self._vectors.search(queries, count, params=self._parameters(probes, among))
        return scores, positions

    def positions_of(self, image_ids: pa.ChunkedArray | pa.Array) -> Positions:
        """Return the positions of those ids that the index holds, ascending."""
        held = pc.is_in(self.ids, value_set=image_ids)
        positions: Positions = np.flatnonzero(held.to_numpy())
        return positions

    def _parameters(self, probes: int, among: Positions | None) -> faiss.SearchParameters:
        chosen: dict[str, Any] = {} if among is None else {"sel": _bitmap(among, self.rows)}
        if self.recipe.lists:
            return faiss.SearchParametersIVF(**chosen | {"nprobe": probes})
        return faiss.SearchParameters(**chosen)

    def _add(self, ids: pa.ChunkedArray, vectors: Vectors) -> None:
        self._vectors.add(vectors)
        self.ids = pa.chunked_array([*self.ids.chunks, *ids.chunks], type=pa.string())

    def _refuse_doubles(self) -> None:
        if pc.count_distinct(self.ids).as_py() == self.rows:
            return
        counts = pc.value_counts(self.ids.combine_chunks())
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise InvalidCollection(
            f"Image {twice} stands in the manifest more than once, so {self.rows} rows cannot be indexed; "
            "run `pressrun verify` on the collection."
        )

    def _tune(self, queries: Vectors, truth: Positions) -> None:
        """Visit as few lists as find the wanted share of the true neighbours, each try twice as many as the last."""
        probes = 1
        while True:
            _, found = self._vectors.search(queries, truth.shape[1], params=self._parameters(probes, None))
            shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
            recall = float(np.mean(shares))
            if recall >= _RECALL_WANTED or probes >= self.recipe.lists:
                break
            probes = min(probes * 2, self.recipe.lists)
        self.tuning = IndexTuning(probes, round(recall, 4), len(queries), self.rows)


def build_index(
    parts: Iterable[pa.Table], dimension: int, recipe: IndexRecipe | None = None, threads: int = 1
) -> Index:
    """Index the rows of manifest parts.

    Parameters
    ----------
    parts : iterable of pyarrow.Table
        Columns `image_id` and `embedding` (D float16 or float32, L2-normalised, null where there is none). Read twice:
        once to count and to sample, once to add.
    dimension : int
        D.
    recipe : IndexRecipe or None
        None for `index_recipe` of the rows found.
    threads : int
        OpenMP threads.

    Returns
    -------
    Index
        The same index for the same parts and the same number of threads.

    Raises
    ------
    InvalidCollection
        When an id comes twice, or an embedding has another length than `dimension`.
    """
    faiss.omp_set_num_threads(threads)
    again = list(parts) if isinstance(parts, Iterator) else parts
    rows, sample = survey(again, dimension)
    recipe = recipe or index_recipe(rows, dimension)
    vectors = faiss.index_factory(dimension, recipe.factory, faiss.METRIC_INNER_PRODUCT)
    index = Index(pa.chunked_array([], pa.string()), vectors, recipe, IndexTuning(0, 1.0, 0, rows))
    if not recipe.lists:
        index.extend(again, threads)
        return index
    vectors.train(evenly(sample, recipe.lists * TRAINING_ROWS_A_LIST))
    truth = ExactNeighbours(near_queries(sample), min(_NEIGHBOURS, rows))
    for ids, chunk in read_vectors(again, dimension):
        index._add(ids, chunk)
        truth.see(chunk)
    index._refuse_doubles()
    index._tune(truth.queries, truth.positions)
    return index


def _bitmap(positions: Positions, rows: int) -> faiss.IDSelector:
    chosen = np.zeros(rows, bool)
    chosen[positions] = True
    bits = np.packbits(chosen, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # its stub shows the C++ signature
