"""Pictures taken over from other collections that hold exactly what is asked for.

Knows nothing of rendering, nor of which collections may be asked (`pressrun.library`). A picture's hash is checked, and
it is committed as if it had been rendered here: copied, into this collection's layout whatever the other one's is, or
by reference, its row then telling where it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from pressrun import layout, manifest
from pressrun.bucket_order import rows_at
from pressrun.collection import read_identity
from pressrun.committed_picture import read_committed
from pressrun.errors import InvalidCollection
from pressrun.image_ids import IdLookup, are_image_ids, first_not_held, ids_of
from pressrun.job import HowReused
from pressrun.location import Location
from pressrun.picture_place import address
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store

_ROWS_AT_ONCE = 1000
_PICTURES_AT_ONCE = 16
logger = logging.getLogger(__name__)


class _Wanted:
    """What the collection lacks of what is asked for, becoming less as it is taken over."""

    def __init__(self, store: Store, requests: pa.Table) -> None:
        asked = ids_of(requests)
        self._open = first_not_held(asked, manifest.held_images(store)).rows  # where each is asked for first
        self._places = IdLookup(asked, self._open)
        self._requests = requests

    @property
    def is_empty(self) -> bool:
        return not self._open.any()

    def among(self, rows: pa.Table) -> pa.Table:
        """Return the rows of pictures that are still wanted."""
        places = self._places.find(ids_of(rows))
        return rows.filter(pa.array((places >= 0) & self._open[places]))

    def settle(self, rows: pa.Table) -> pa.Table:
        """Return the requests that these rows answer, which are wanted no more."""
        places = self._places.find(ids_of(rows))
        self._open[places] = np.False_
        return pa.Table.from_batches(rows_at(self._requests, places))


def take_over(
    store: Store, collections: Iterable[Location], requests: pa.Table, run_id: str, how: HowReused = "copy"
) -> int:
    """Take over the pictures that are asked for and held elsewhere, commit them, and return how many there were.

    A picture that is missing or damaged there is left for the next collection that holds it, or for the run to render.

    Parameters
    ----------
    store : Store
        The collection; this run holds its claim.
    collections : iterable of Location
        Other collections that fit this one; only read.
    requests : pyarrow.Table
        Named requests of the job, duplicates included.
    run_id : str
        The run that rows name.
    how : str
        "copy" the pictures, or let rows refer to them where they are ("reference").
    """
    if not (sources := [Store(place) for place in collections]):
        return 0
    wanted, taken = _Wanted(store, requests), 0
    packs = how == "copy" and read_identity(store).layout == "webdataset"
    for source in sources:
        if wanted.is_empty:
            break
        for theirs in _rows_of(source, wanted):
            ours = _sound(source, theirs) if packs else _brought(store, source, theirs, how)
            if ours.num_rows:
                rows = _as_asked(ours, wanted.settle(ours), run_id)
                taken += _packed(store, source, rows) if packs else _written(store, rows)
    return taken


def _rows_of(source: Store, wanted: _Wanted) -> Iterator[pa.Table]:
    """Yield the rows of wanted pictures, a limited number at once."""
    for name in [*manifest.receipt_names(source), *manifest.part_names(source)]:
        try:
            rows = manifest.read_table(source, name)
        except FileNotFoundError:  # its own run compacts meanwhile; what is missed is rendered
            continue
        rows = wanted.among(first_of_each(rows.filter(are_image_ids(rows.column("image_id")))))
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            yield rows.slice(start, _ROWS_AT_ONCE)


def _brought(store: Store, source: Store, rows: pa.Table, how: HowReused) -> pa.Table:
    """Return the rows whose pictures are sound, with the paths that they have from here on."""

    def bring(row: dict[str, Any]) -> str | None:
        data = _sound_picture(source, row)
        if data is None:
            return None
        return _reference(store, source, row) if how == "reference" else _copy(store, row, data)

    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as threads:
        paths = pa.array(threads.map(bring, rows.select(["image_id", "path", "sha256"]).to_pylist()), pa.string())
    at = rows.schema.get_field_index("path")
    moved = rows.set_column(at, pa.field("path", pa.string()), paths)
    return moved.filter(paths.is_valid()).cast(rows.schema)


def _sound(source: Store, rows: pa.Table) -> pa.Table:
    """Return the rows whose pictures are sound, with the paths that they have there."""

    def is_sound(row: dict[str, Any]) -> bool:
        return _sound_picture(source, row) is not None

    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as threads:
        sound = list(threads.map(is_sound, rows.select(["image_id", "path", "sha256"]).to_pylist()))
    return rows.filter(pa.array(sound, pa.bool_()))


def _written(store: Store, rows: pa.Table) -> int:
    """Commit rows and return how many there were."""
    manifest.write_part(store, rows)
    return int(rows.num_rows)


def _packed(store: Store, source: Store, rows: pa.Table) -> int:
    """Copy pictures into tars, commit their rows, and return how many there were."""
    try:
        manifest.write_part(store, rows, source=source)
    except InvalidCollection as error:  # its own run moves pictures meanwhile
        logger.warning("%d pictures are rendered, not taken over: %s", rows.num_rows, error)
        return 0
    return int(rows.num_rows)


def _sound_picture(source: Store, row: dict[str, Any]) -> bytes | None:
    try:
        data = read_committed(source, row)
    except (FileNotFoundError, InvalidCollection):
        data = b""
    if hashlib.sha256(data).hexdigest() == row["sha256"]:
        return data
    logger.warning("%s is not what its row in %s says; it is not taken over", row["path"], source.location)
    return None


def _reference(store: Store, source: Store, row: dict[str, Any]) -> str:
    own = address(store, "")  # a picture can have come from here
    return address(source, row["path"]).removeprefix(own)


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
