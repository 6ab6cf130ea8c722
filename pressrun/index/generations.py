"""The index in a collection: written whole as a generation, and pointed at only when it is complete.

A generation is a function of the manifest parts it covers, so a build that was killed is written over by the next.
Knows nothing of FAISS (`pressrun.index.vectors`), nor of rows that are not in a manifest part yet.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pressrun import layout, manifest
from pressrun.errors import InvalidCollection
from pressrun.index.recipe import IndexRecipe, IndexTuning, index_recipe
from pressrun.index.vectors import Index, build_index
from pressrun.storage import Store

log = logging.getLogger(__name__)

_FORMAT = 1
_CURRENT = f"{layout.INDEX}/current.json"
_VECTORS = "index.faiss"
_IDS = "ids.parquet"
_META = "meta.json"
_REMEDY = "`pressrun verify --repair` builds it anew"


@dataclass(frozen=True, slots=True)
class IndexMeta:
    """What a generation holds; stored beside it.

    Parameters
    ----------
    generation : str
        Its name: a digest of the parts, the embedder and the dimension.
    rows : int
        Pictures in it.
    dimension : int
        Length of the vectors.
    embedder_revision : str
        What made the embeddings; queries must come from the same.
    parts : tuple of str
        Manifest parts covered, sorted.
    recipe : IndexRecipe
        How it was built.
    tuning : IndexTuning
        How it is searched, and the recall that was measured.
    sha256 : dict of str to str
        Of each file, by name.
    """

    generation: str
    rows: int
    dimension: int
    embedder_revision: str
    parts: tuple[str, ...]
    recipe: IndexRecipe
    tuning: IndexTuning
    sha256: dict[str, str]


def commit_index(store: Store, dimension: int, embedder_revision: str, threads: int = 1) -> IndexMeta | None:
    """Bring the collection's index up to its manifest parts.

    Does nothing when they are covered; adds the new parts when it can; builds anew when a part is gone, the embedder
    has changed, the rows have doubled since the lists were trained, or the size asks for another kind of index. Only
    the collection's single writer may call this.

    Parameters
    ----------
    store : Store
        The collection.
    dimension : int
        Length of its embeddings.
    embedder_revision : str
        Digest of the model that made them.
    threads : int
        Parts read at once, and OpenMP threads.

    Returns
    -------
    IndexMeta or None
        The current generation; None when the manifest has no part yet.
    """
    names = tuple(manifest.part_names(store))
    if not names:
        return None
    generation = _generation(names, dimension, embedder_revision)
    previous = current_index(store)
    if previous and previous.generation == generation:
        return previous
    index = _extended(store, previous, names, dimension, embedder_revision, threads)
    if index is None:
        index = build_index(_Parts(store, names, threads), dimension, threads=threads)
    meta = _write(store, index, generation, embedder_revision, names)
    kept = {generation, previous.generation if previous else generation}
    store.delete([name for name, _ in store.walk(layout.INDEX) if name != _CURRENT and name.split("/")[1] not in kept])
    return meta


def current_index(store: Store) -> IndexMeta | None:
    """Return what the current generation holds, or None when the collection has no index."""
    try:
        generation = store.read_record(_CURRENT)["generation"]
        facts = store.read_record(_name(generation, _META))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidCollection(
            f"The index's records in {store.location} cannot be read: {error!r}; {_REMEDY}."
        ) from error
    if facts.pop("format") != _FORMAT:
        raise InvalidCollection(f"Index {generation} of {store.location} was written by another version; {_REMEDY}.")
    facts["recipe"] = IndexRecipe(**facts["recipe"])
    facts["tuning"] = IndexTuning(**facts["tuning"])
    return IndexMeta(**facts | {"parts": tuple(facts["parts"])})


def load_index(store: Store, meta: IndexMeta | None = None) -> tuple[Index, IndexMeta]:
    """Read a generation, the current one unless told.

    Returns
    -------
    index : Index
        The index.
    meta : IndexMeta
        What it holds.

    Raises
    ------
    InvalidCollection
        When there is no index, or a file is missing or is not what was written.
    """
    meta = meta or current_index(store)
    if meta is None:
        raise InvalidCollection(f"{store.location} has no index yet; run its job to the end, with an embedder.")
    ids = pq.read_table(io.BytesIO(_read_checked(store, meta, _IDS))).column("image_id")
    return Index.from_bytes(_read_checked(store, meta, _VECTORS), ids, meta.recipe, meta.tuning), meta


class _Parts:
    """The ids and embeddings of manifest parts, read a few at once; can be iterated again."""

    def __init__(self, store: Store, names: tuple[str, ...], threads: int) -> None:
        self._store = store
        self._names = names
        self._threads = threads

    def __iter__(self) -> Iterator[pa.Table]:
        coming: deque[Future[pa.Table]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            for name in self._names:
                coming.append(pool.submit(self._read, name))
                if len(coming) > self._threads:  # bounds what is held in memory
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def _read(self, name: str) -> pa.Table:
        try:
            return manifest.read_table(self._store, name, ["image_id", "embedding"])
        except (KeyError, pa.ArrowInvalid) as error:
            raise InvalidCollection(
                f"{self._store.path(name)} has no embeddings; use a new collection for a job with an embedder."
            ) from error


def _extended(
    store: Store,
    meta: IndexMeta | None,
    names: tuple[str, ...],
    dimension: int,
    embedder_revision: str,
    threads: int,
) -> Index | None:
    """Return the previous generation with the new parts added, or None when it has to be built anew."""
    if meta is None or (meta.dimension, meta.embedder_revision) != (dimension, embedder_revision):
        return None
    if not set(meta.parts) <= set(names):
        return None
    try:
        index, _ = load_index(store, meta)
    except InvalidCollection as damage:
        log.warning("Building the index anew: %s", damage)
        return None
    index.extend(_Parts(store, tuple(sorted(set(names) - set(meta.parts))), threads), threads)
    outgrown = index.recipe.lists and index.rows > 2 * meta.tuning.rows
    another_kind = bool(index_recipe(index.rows, dimension).lists) != bool(index.recipe.lists)
    return None if outgrown or another_kind else index


def _write(store: Store, index: Index, generation: str, embedder_revision: str, names: tuple[str, ...]) -> IndexMeta:
    """Write a generation's files, then point at it."""
    ids = pa.table({"image_id": index.ids})
    files = {_VECTORS: index.to_bytes(), _IDS: manifest.to_parquet(ids)}
    for name, data in files.items():
        store.write(_name(generation, name), data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    meta = IndexMeta(
        generation, index.rows, index.dimension, embedder_revision, names, index.recipe, index.tuning, digests
    )
    store.write(_name(generation, _META), json.dumps(asdict(meta) | {"format": _FORMAT}, indent=1).encode())
    store.write(_CURRENT, json.dumps({"generation": generation}).encode())
    return meta


def _read_checked(store: Store, meta: IndexMeta, file: str) -> bytes:
    name = _name(meta.generation, file)
    try:
        data = store.read(name)
    except FileNotFoundError as error:
        raise InvalidCollection(f"Index file {store.path(name)} is missing; {_REMEDY}.") from error
    found, written = hashlib.sha256(data).hexdigest(), meta.sha256[file]
    if found != written:
        raise InvalidCollection(
            f"Index file {store.path(name)} has SHA-256 {found[:12]}, but {written[:12]} was written; {_REMEDY}."
        )
    return data


def _generation(names: tuple[str, ...], dimension: int, embedder_revision: str) -> str:
    text = json.dumps([_FORMAT, list(names), dimension, embedder_revision])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _name(generation: str, file: str) -> str:
    return f"{layout.INDEX}/{generation}/{file}"
