"""Which rows of a collection are exported: those that are committed, fulfil the conditions, and stand in id order.

Knows nothing of formats or of where the rows go. What is chosen is one moment's view: a run that goes on writing to
the collection does not change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from pressrun import manifest
from pressrun.collection import Identity, read_identity
from pressrun.errors import InvalidExport
from pressrun.export.options import ExportOptions
from pressrun.export.sorted_rows import SortedRows
from pressrun.index.query import matching, parse_condition
from pressrun.storage import Store
from pressrun.tar_path import TarPath

_LAYOUT_VERSION = 1  # of the bytes that an export writes


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of one export.

    Parameters
    ----------
    rows : SortedRows
        By ascending image id, each image once.
    images : int
        How many.
    picture_bytes : int
        Size of their pictures.
    digest : str
        The same for the same rows and options, so that an export can be recognised when it is begun again.
    """

    rows: SortedRows
    images: int
    picture_bytes: int
    digest: str


@contextmanager
def selected(store: Store, options: ExportOptions) -> Iterator[Selection]:
    """Give the rows to export; they are gone when the block ends.

    Parameters
    ----------
    store : Store
        The collection.
    options : ExportOptions
        Conditions, and whether embeddings are wanted.

    Raises
    ------
    InvalidCollection
        When there is no collection, or a file of its manifest is damaged.
    InvalidExport
        When no image fulfils the conditions, or embeddings are wanted where there are none.
    InvalidQuery
        When a condition cannot be read.
    """
    identity = read_identity(store)
    schema = manifest.manifest_schema(identity.embedding_size)
    conditions = [parse_condition(text, schema) for text in options.where]
    columns = _columns(store, identity, schema, options)
    with TemporaryDirectory(prefix="pressrun-export-") as scratch:
        rows = SortedRows(Path(scratch), pa.schema([schema.field(name) for name in columns]))
        for table in manifest.row_tables(store, columns):
            rows.add(table.filter(pa.array(matching(table, conditions))) if conditions else table)
        yield _summed_up(store, rows, options)


def _columns(store: Store, identity: Identity, schema: pa.Schema, options: ExportOptions) -> list[str]:
    if options.embeddings and not identity.embedding_size:
        raise InvalidExport(f"{store.location} has no embeddings to export; leave them out.")
    return [name for name in schema.names if name != "embedding" or options.embeddings]


def _summed_up(store: Store, rows: SortedRows, options: ExportOptions) -> Selection:
    digest = hashlib.blake2b(json.dumps([_LAYOUT_VERSION, rows.schema.names, options.shape]).encode(), digest_size=16)
    images = picture_bytes = 0
    for table in rows:
        columns = [
            table.column(name).to_pylist() for name in ("image_id", "sha256", "size_bytes", "created_at", "path")
        ]
        for image_id, sha256, size_bytes, created_at, path in zip(*columns, strict=True):
            # Only in tars can a picture move, and the rows that go out tell where it is.
            place = "" if TarPath.of(path) is None else f" {path}"
            digest.update(f"{image_id} {sha256} {created_at.isoformat()}{place}\n".encode())
            picture_bytes += size_bytes
        images += table.num_rows
    if not images:
        which = "fulfils " + " and ".join(options.where) if options.where else "is in it yet"
        raise InvalidExport(f"There is nothing to export from {store.location}: no image {which}.")
    return Selection(rows, images, picture_bytes, digest.hexdigest())
