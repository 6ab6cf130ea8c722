"""A seeded random sample of a collection's rows, and rows to keep them company.

Knows nothing of batches or models. Reads ids of the whole collection, and more only of the files that hold the sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest

import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from pressrun import manifest
from pressrun.errors import InvalidCollection
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store

_COLUMNS = [*REQUEST_SCHEMA.names, "path", "sha256", "model_revision", "batch_size", "provenance", "worker", "run_id"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures to draw again.

    Parameters
    ----------
    rows : pyarrow.Table
        Their manifest rows, without embeddings; each image once.
    neighbours : pyarrow.Table
        All rows of the manifest files that they stand in, themselves included.
    """

    rows: pa.Table
    neighbours: pa.Table


def choose_ids(files: Iterable[tuple[str, Iterable[str]]], count: int, seed: int) -> dict[str, str]:
    """Return a random sample of image ids, each with the first file that names it.

    The sample depends on the ids and the seed alone, not on how the ids are spread over files, and memory does not grow
    with their number: those with the smallest hashes are taken.

    Parameters
    ----------
    files : iterable of (str, iterable of str)
        Files of a manifest and the ids in them; an id can stand in several.
    count : int
        Ids wanted; fewer when there are fewer.
    seed : int
        0 .. 2**64-1.
    """
    chosen: dict[str, tuple[int, str]] = {}
    for name, ids in files:
        ranked = {image_id: (xxh3_64_intdigest(image_id.encode(), seed), name) for image_id in ids}
        chosen = dict(nsmallest(count, (ranked | chosen).items(), key=lambda item: (item[1][0], item[0])))
    return {image_id: name for image_id, (_, name) in chosen.items()}


def draw_sample(store: Store, count: int, seed: int) -> Sample:
    """Draw a sample of the committed rows.

    Raises
    ------
    InvalidCollection
        When there are none.
    """
    receipts = _receipts(store)  # first: a run may be compacting them into parts meanwhile
    chosen = choose_ids(_ids(store, receipts), count, seed)
    if not chosen:
        raise InvalidCollection(f"{store.location} holds no pictures, so none can be drawn again; generate some first.")
    names = list(dict.fromkeys(chosen.values()))
    tables = [receipts[name] if name in receipts else manifest.read_table(store, name, _COLUMNS) for name in names]
    neighbours = first_of_each(pa.concat_tables(tables))
    ids = pa.array(chosen, pa.string())
    return Sample(neighbours.filter(pc.is_in(neighbours.column("image_id"), value_set=ids)), neighbours)


def _receipts(store: Store) -> dict[str, pa.Table]:
    found = {}
    for name in manifest.receipt_names(store):
        with suppress(FileNotFoundError):
            found[name] = manifest.read_table(store, name, _COLUMNS)
    return found


def _ids(store: Store, receipts: Mapping[str, pa.Table]) -> Iterator[tuple[str, list[str]]]:
    for name, rows in receipts.items():
        yield name, rows.column("image_id").to_pylist()
    for name in manifest.part_names(store):
        yield name, manifest.read_table(store, name, ["image_id"]).column("image_id").to_pylist()
