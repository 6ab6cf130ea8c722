"""Tables that wait on disk: small ones stay in memory, large ones are mapped from a temporary file.

Knows nothing of what the rows mean. Pages of a mapped file are the kernel's to keep or drop, so a large table costs no
memory of its own; the file has no name and is gone with the last reference to the table, or with the process.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

_MOST_ROWS = 50_000  # held in memory; some 10 MB of requests


def spilled(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Return record batches as a table, which is mapped from disk when it is large.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Taken one at a time.
    schema : pyarrow.Schema
        Theirs.

    Raises
    ------
    OSError
        When the folder for temporary files has too little room.
    """
    waiting = iter(batches)
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in waiting:
        held.append(batch)
        rows += batch.num_rows
        if rows > _MOST_ROWS:
            return _mapped(_drained(held, waiting), schema)
    return pa.Table.from_batches(held, schema)


def _drained(held: list[pa.RecordBatch], waiting: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what is held and then the rest, keeping nothing that was yielded."""
    held.reverse()
    while held:
        yield held.pop()
    yield from waiting


def _mapped(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    descriptor, path = tempfile.mkstemp(prefix="pressrun-")
    try:
        with pa.OSFile(path, "wb") as sink:
            os.unlink(path)
            _write(sink, batches, schema)
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()


def _write(sink: pa.OSFile, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
    writer = pa.ipc.new_file(sink, schema)  # not in a `with`: closing after an error would write again and hide it
    for batch in batches:
        with _told_of_the_disk(sink.tell() + batch.nbytes):
            writer.write_batch(batch)
    with _told_of_the_disk(sink.tell()):
        writer.close()


@contextmanager
def _told_of_the_disk(needed_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise OSError(
            error.errno,
            f"A plan of {needed_bytes:,} bytes or more cannot be written to {folder}, which has "
            f"{shutil.disk_usage(folder).free:,} bytes free ({error}); set TMPDIR to a folder with more room",
        ) from error
