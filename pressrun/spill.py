"""Tables that wait on disk: small ones stay in memory, large ones are mapped from a temporary file.

Knows nothing of what the rows mean. Pages of a mapped file are the kernel's to keep or drop, so a large table costs no
memory of its own; the file has no name and is gone with the last reference to the table, or with the process.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
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
    spill = Spill(schema)
    for batch in batches:
        spill.add(batch)
    return spill.table()


class Spill:
    """A table under way, filled batch by batch.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of all batches.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._file: _File | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises
        ------
        OSError
            When the folder for temporary files has too little room.
        """
        if self._file is not None:
            self._file.write(batch)
            return
        self._held.append(batch)
        self._held_rows += batch.num_rows
        if self._held_rows > _MOST_ROWS:
            self._file = _File(self._schema)
            for one in self._held:
                self._file.write(one)
            self._held.clear()

    def table(self) -> pa.Table:
        """Return what was added; nothing can be added afterwards."""
        if self._file is None:
            return pa.Table.from_batches(self._held, self._schema)
        return self._file.mapped()


class _File:
    """An Arrow file without a name."""

    def __init__(self, schema: pa.Schema) -> None:
        self._descriptor, path = tempfile.mkstemp(prefix="pressrun-")
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._sink = pa.OSFile(path, "wb")
        os.unlink(path)
        self._writer = pa.ipc.new_file(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        with _told_of_the_disk(self._sink.tell() + batch.nbytes):
            self._writer.write_batch(batch)

    def mapped(self) -> pa.Table:
        with _told_of_the_disk(self._sink.tell()):
            self._writer.close()
        self._sink.close()
        pages = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        self._close()
        return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(pages))).read_all()


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
