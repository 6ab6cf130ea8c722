"""Pictures taken over from other collections that hold exactly what is asked for.

Knows nothing of rendering. Only collections that the job names are looked at; a picture is copied with its own hash
checked, and committed as if it had been rendered here, in this collection's layout whatever the other one's is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pressrun import layout, manifest
from pressrun.bucket_order import rows_at
from pressrun.collection import Identity, read_identity
from pressrun.committed_picture import read_committed
from pressrun.errors import InvalidCollection, InvalidJob
from pressrun.image_ids import IdLookup, are_image_ids, first_not_held, ids_of
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store

_ROWS_AT_ONCE = 1000
_COPIES_AT_ONCE = 16
logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


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
    commit = _commit_tars if read_identity(store).layout == "webdataset" else _commit_files
    taken = 0
    for theirs in _rows_of(library, wanted, requests.num_rows):
        asked = pa.Table.from_batches(rows_at(requests, wanted.find(ids_of(theirs))))
        taken += commit(store, library, _as_asked(theirs, asked, run_id))
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


def _commit_files(store: Store, library: Store, rows: pa.Table) -> int:
    """Copy pictures as objects of their own, commit their rows, and return how many there were."""

    def copy(row: dict[str, Any]) -> str | None:
        data = _sound_picture(library, row)
        return None if data is None else _copy(store, row, data)

    paths = pa.array(_of_each(rows, copy), pa.string())
    at = rows.schema.get_field_index("path")
    copied = rows.set_column(at, "path", paths).filter(paths.is_valid()).cast(rows.schema)
    if copied.num_rows:
        manifest.write_part(store, copied)
    return int(copied.num_rows)


def _commit_tars(store: Store, library: Store, rows: pa.Table) -> int:
    """Copy pictures into tars, commit their rows, and return how many there were."""
    sound = rows.filter(pa.array(_of_each(rows, lambda row: _sound_picture(library, row) is not None), pa.bool_()))
    if not sound.num_rows:
        return 0
    try:
        manifest.write_part(store, sound, source=library)
    except InvalidCollection as error:  # its own run moves pictures meanwhile
        logger.warning("%d pictures are rendered instead of taken over: %s", sound.num_rows, error)
        return 0
    return int(sound.num_rows)


def _of_each(rows: pa.Table, look: Callable[[dict[str, Any]], _Result]) -> list[_Result]:
    with ThreadPoolExecutor(_COPIES_AT_ONCE) as threads:
        return list(threads.map(look, rows.select(["image_id", "path", "sha256"]).to_pylist()))


def _sound_picture(library: Store, row: dict[str, Any]) -> bytes | None:
    try:
        data = read_committed(library, row)
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() == row["sha256"]:
        return data
    logger.warning("%s in %s is not what its row says; it is rendered instead", row["path"], library.location)
    return None


def _copy(store: Store, row: dict[str, Any], data: bytes) -> str:
    path = layout.image(row["image_id"], row["path"].rpartition(".")[2])
    if not store.create(path, data) and store.read(path) != data:
        store.write(path, data)  # an orphan of a killed run: no row names it, or the picture would be held
    return path


def _as_asked(theirs: pa.Table, asked: pa.Table, run_id: str) -> pa.Table:
    """Return the rows with what this job says of each request: its row, id and extra columns."""
    columns = {name: asked.column(name) for name in REQUEST_SCHEMA.names}
    results = {name: theirs.column(name) for name in theirs.column_names if name not in columns}
    results["run_id"] = pa.array([run_id] * theirs.num_rows, pa.string())
    return pa.table(columns | results).select(theirs.column_names).cast(theirs.schema)
