"""Pictures taken over from other collections that hold exactly what is asked for.

Knows nothing of rendering. Only collections that the job names are looked at; a picture is copied with its own hash
checked, and committed as if it had been rendered here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from pressrun import layout, manifest
from pressrun.bucket_order import rows_at
from pressrun.collection import Identity, read_identity
from pressrun.errors import InvalidJob
from pressrun.image_ids import IdLookup, are_image_ids, first_not_held, ids_of
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store

_ROWS_AT_ONCE = 1000
_COPIES_AT_ONCE = 16
logger = logging.getLogger(__name__)


def check_library(library: Store, identity: Identity) -> None:
    """Refuse a collection whose pictures could not stand in this one.

    Parameters
    ----------
    library : Store
        A collection to take pictures over from.
    identity : Identity
        The collection that they would go to.

    Raises
    ------
    InvalidCollection
        When there is no collection.
    InvalidJob
        When it was embedded by another model, or its pictures have another format.
    """
    found = read_identity(library)
    for name, theirs, ours in (
        ("embedder", found.embedder[:12] or "none", identity.embedder[:12] or "none"),
        ("image format", found.image_ending, identity.image_ending),
    ):
        if theirs != ours:
            raise InvalidJob(
                f"Pictures of {library.location} cannot be taken over: its {name} is {theirs}, the job's is {ours}; "
                f"use the same {name} or leave this collection out."
            )


def take_over(store: Store, library: Store, requests: pa.Table, run_id: str) -> int:
    """Copy the pictures that are asked for from a library, commit them, and return how many there were.

    A picture that is missing or damaged in the library is left for the run to render.

    Parameters
    ----------
    store : Store
        The collection; this run holds its claim.
    library : Store
        Another collection, checked by `check_library`; only read.
    requests : pyarrow.Table
        Named requests of the job, duplicates included.
    run_id : str
        The run that rows name.
    """
    wanted = _wanted(store, requests)
    taken = 0
    for theirs in _rows_of(library, wanted, requests.num_rows):
        copied = _copy_all(store, library, theirs)
        if copied.num_rows:
            asked = pa.Table.from_batches(rows_at(requests, wanted.find(ids_of(copied))))
            manifest.write_part(store, _as_asked(copied, asked, run_id))
            taken += copied.num_rows
    return taken


def _wanted(store: Store, requests: pa.Table) -> IdLookup:
    """Return where each picture that the collection lacks is asked for first."""
    asked = ids_of(requests)
    return IdLookup(asked, first_not_held(asked, manifest.held_images(store)).rows)


def _rows_of(library: Store, wanted: IdLookup, asked_rows: int) -> Iterator[pa.Table]:
    """Yield the library's rows of wanted pictures, a limited number at once and none twice."""
    yielded = np.zeros(asked_rows, np.bool_)
    for name in [*manifest.receipt_names(library), *manifest.part_names(library)]:
        try:
            rows = manifest.read_table(library, name)
        except FileNotFoundError:  # its own run compacts meanwhile; what is missed is rendered
            continue
        rows = first_of_each(rows.filter(are_image_ids(rows.column("image_id"))))
        places = wanted.find(ids_of(rows))
        chosen = (places >= 0) & ~yielded[places]
        yielded[places[chosen]] = True
        rows = rows.filter(pa.array(chosen))
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            yield rows.slice(start, _ROWS_AT_ONCE)


def _copy_all(store: Store, library: Store, rows: pa.Table) -> pa.Table:
    def copy(row: dict[str, Any]) -> bool:
        return _copy(store, library, row)

    with ThreadPoolExecutor(_COPIES_AT_ONCE) as threads:
        copied = list(threads.map(copy, rows.select(["image_id", "path", "sha256"]).to_pylist()))
    return rows.filter(pa.array(copied, pa.bool_()))


def _copy(store: Store, library: Store, row: dict[str, Any]) -> bool:
    try:
        data = library.read(row["path"])
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        logger.warning("%s in %s is not what its row says; it is rendered instead", row["path"], library.location)
        return False
    path = layout.image(row["image_id"], row["path"].rpartition(".")[2])
    if not store.create(path, data) and store.read(path) != data:
        store.write(path, data)  # an orphan of a killed run: no row names it, or the picture would be held
    return True


def _as_asked(theirs: pa.Table, asked: pa.Table, run_id: str) -> pa.Table:
    """Return the rows with what this job says of each request: its row, id and extra columns."""
    columns = {name: asked.column(name) for name in REQUEST_SCHEMA.names}
    results = {name: theirs.column(name) for name in theirs.column_names if name not in columns}
    results["run_id"] = pa.array([run_id] * theirs.num_rows, pa.string())
    return pa.table(columns | results).select(theirs.column_names).cast(theirs.schema)
