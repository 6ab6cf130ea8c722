"""The manifest: one row an image, in Parquet parts; the record that an image exists.

Knows nothing of rendering or of who calls. Rows enter as receipts, one a batch, and are compacted into parts; a reader
takes the union of both, each image once.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pressrun import layout
from pressrun.errors import InvalidCollection
from pressrun.image_ids import ImageIds, are_image_ids
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store
from pressrun.tar_shards import is_packed, pack, waiting_tars

# What identifies a picture and its making; the columns after `batch_size` tell of one rendering and may differ
# between two renderings of the same picture.
_RESULT_FIELDS = [
    pa.field("path", pa.string(), nullable=False),
    pa.field("sha256", pa.string(), nullable=False),
    pa.field("size_bytes", pa.int64(), nullable=False),
    pa.field("model_name", pa.string(), nullable=False),
    pa.field("model_revision", pa.string(), nullable=False),
    pa.field("batch_size", pa.int32(), nullable=False),
    pa.field("provenance", pa.string(), nullable=False),  # JSON: engine, versions, dtype, device, threads
    pa.field("seconds", pa.float64(), nullable=False),  # the picture's share of its batch's rendering
    pa.field("worker", pa.string(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
]

_ROW_GROUP_ROWS = 100_000  # held in memory while they are written
_NO_SUCH_COLUMN = "No match for FieldRef"
_compacting = threading.Lock()  # moving pictures into tars can take long: one at a time in a process


def manifest_schema(embedding_size: int) -> pa.Schema:
    """Return the schema of receipts and parts.

    Parameters
    ----------
    embedding_size : int
        Length D of the embeddings; 0 for a collection that is not embedded, whose parts have no such column.

    Returns
    -------
    pyarrow.Schema
        Request columns, result columns, and `embedding`: D float16, L2-normalised.
    """
    fields = [*REQUEST_SCHEMA, *_RESULT_FIELDS]
    if embedding_size:
        fields.append(pa.field("embedding", pa.list_(pa.float16(), embedding_size), nullable=False))
    return pa.schema(fields)


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def write_large(store: Store, name: str, table: pa.Table) -> None:
    """Write a table as Parquet that may be larger than memory."""
    with store.writing(name) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP_ROWS)


def read_table(store: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a receipt or part, whole or in some columns.

    Raises
    ------
    InvalidCollection
        When the file is cut short or is not Parquet.
    """
    # A file on disk is read only where the columns stand.
    source = store.path(name) if store.is_local else io.BytesIO(store.read(name))
    try:
        return pq.read_table(source, columns=columns, partitioning=None, memory_map=False)
    except (pa.ArrowInvalid, OSError) as error:
        if _is_of_the_disk(error) or _NO_SUCH_COLUMN in str(error):
            raise
        raise InvalidCollection(
            f"{name} in {store.location} is damaged ({error}); `pressrun verify --repair` removes it, and the next "
            "run renders its images again."
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    """Return whether a file could not be read at all; Arrow tells of bad contents by plain OSErrors without number."""
    return isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)


def part_names(store: Store) -> list[str]:
    """Return the names of all manifest parts, sorted."""
    return store.names(layout.MANIFEST, ".parquet")


def receipt_names(store: Store) -> list[str]:
    """Return the names of all receipts not yet compacted, sorted."""
    return store.names(layout.RECEIPTS, ".parquet")


def write_receipt(store: Store, batch_id: str, rows: pa.Table) -> None:
    """Commit a batch: from here on its images exist."""
    buffer = io.BytesIO()
    # It lives until its shard's part is written, so that making it small costs more than it saves.
    pq.write_table(rows, buffer, compression="none", use_dictionary=False, write_statistics=False)
    store.write(layout.receipt(batch_id), buffer.getvalue())


def write_part(
    store: Store,
    rows: pa.Table,
    source: Store | None = None,
    check: Callable[[], None] = lambda: None,
    repack: bool = False,
) -> str:
    """Write rows as a part and return its name, which is fixed by the images it holds.

    Pictures that are in tars are moved into tars of the part's own first, which hold nothing else.

    Parameters
    ----------
    store : Store
        The collection.
    rows : pyarrow.Table
        Manifest rows, each image once.
    source : Store or None
        Another collection that the paths are of, whose pictures are to be put into tars here; None when they are here.
    check : callable
        Raises when this process may not write any more.
    repack : bool
        Whether to write the part's tars anew even if they hold all of its pictures.

    Raises
    ------
    InvalidCollection
        When a picture that has to be moved is missing or is not what its row says.
    """
    part_id = _part_id(rows)
    if source is not None or repack or not is_packed(rows, part_id):
        rows = pack(store, source or store, rows, part_id, check)
    name = layout.part(part_id)
    store.write(name, to_parquet(rows))
    return name


def _part_id(rows: pa.Table) -> str:
    digest = hashlib.blake2b(digest_size=10)
    for image_id in sorted(rows.column("image_id").to_pylist()):
        digest.update(image_id.encode())
    return digest.hexdigest()


def held_images(*stores: Store) -> ImageIds:
    """Return every image that a part or a receipt of these collections names, in 16 bytes an image."""
    held = ImageIds()
    for store in stores:
        for rows in row_tables(store, ["image_id"]):
            for ids in rows.column("image_id").iterchunks():
                held.add(ids.filter(are_image_ids(ids)))  # what is no id names no image
    return held


def read_rows(store: Store, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of the whole collection, each image once.

    Parameters
    ----------
    store : Store
        The collection.
    columns : sequence of str or None
        Columns wanted; None for all.

    Returns
    -------
    pyarrow.Table
        One row an image, parts before receipts; an empty table without columns for an empty collection.
    """
    wanted = None if columns is None else list(dict.fromkeys(["image_id", *columns]))
    receipts = _read_receipts(store, wanted)  # first: see `_read_receipts`
    tables = [*(read_table(store, name, wanted) for name in part_names(store)), *receipts]
    if not tables:
        return pa.table({})
    rows = first_of_each(pa.concat_tables(tables))
    return rows if columns is None else rows.select(list(columns))


def row_tables(store: Store, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of the whole collection, a part or receipt at a time, parts first; an image can come twice."""
    receipts = _read_receipts(store, columns)  # first: see `_read_receipts`
    for name in part_names(store):
        yield read_table(store, name, columns)
    yield from receipts


def find_rows(store: Store, image_ids: Iterable[str], columns: Sequence[str]) -> pa.Table:
    """Return the rows of some images, those that exist; parts are read one at a time."""
    wanted = pa.array(sorted(image_ids), pa.string())
    read = list(dict.fromkeys(["image_id", *columns]))

    def choose(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.is_in(rows.column("image_id"), value_set=wanted))

    receipts = [choose(rows) for rows in _read_receipts(store, read)]  # first: see `_read_receipts`
    found = [*(choose(read_table(store, name, read)) for name in part_names(store)), *receipts]
    return first_of_each(pa.concat_tables(found)).select(list(columns)) if found else pa.table({})


def _read_receipts(store: Store, columns: Sequence[str] | None) -> list[pa.Table]:
    """Return the receipts that are there, to be read before the parts are listed.

    A run may be compacting meanwhile. A receipt goes only after its rows are in a part, so whoever reads in this order
    misses no row; the other order loses what moves in between.
    """
    found = []
    for name in receipt_names(store):
        with suppress(FileNotFoundError):
            found.append(read_table(store, name, columns))
    return found


def is_compacting() -> bool:
    """Return whether this process is compacting at the moment."""
    return _compacting.locked()


def compact_leftovers(store: Store, without: Iterable[str] = ()) -> int:
    """Move the rows of every receipt into a part, and return how many rows were not in one yet.

    Safe to repeat after a kill at any point: a receipt goes only when a part holds all of its rows. Only the
    collection's single writer may call this. Rows whose path is in `without` are dropped: their pictures are lost.
    """
    with _compacting:
        names = receipt_names(store)
        if not names:
            return 0
        every = pa.concat_tables([read_table(store, name) for name in names])
        lost = pc.is_in(every.column("path"), value_set=pa.array(without, pa.string()))
        rows = _not_in_a_part(store, first_of_each(every.filter(pc.invert(lost))))
        if rows.num_rows:
            write_part(store, rows)
        store.delete(names)
        store.delete(waiting_tars(every))
        return int(rows.num_rows)


def _not_in_a_part(store: Store, rows: pa.Table) -> pa.Table:
    for name in part_names(store):  # one at a time: a collection's ids may be millions
        in_part = pc.is_in(rows.column("image_id"), value_set=ids_of_part(store, name))
        if pc.any(in_part).as_py():
            rows = rows.filter(pc.invert(in_part))
    return rows


def ids_of_part(store: Store, name: str) -> pa.Array:
    """Return the images of a part."""
    return read_table(store, name, ["image_id"]).column("image_id").combine_chunks()


def compact(store: Store, receipts: Iterable[tuple[str, pa.Table]], check: Callable[[], None] = lambda: None) -> None:
    """Write the rows of finished batches as one part, then drop their receipts.

    Parameters
    ----------
    store : Store
        The collection.
    receipts : iterable of (str, pyarrow.Table)
        Batch ids and their rows.
    check : callable
        Raises when this process may not write any more.
    """
    done = list(receipts)
    if not done:
        return
    with _compacting:
        rows = pa.concat_tables([rows for _, rows in done])
        write_part(store, first_of_each(rows), check=check)
        store.delete(layout.receipt(batch_id) for batch_id, _ in done)
        store.delete(waiting_tars(rows))
