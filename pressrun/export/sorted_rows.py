"""Rows in the order of their ids, more of them than memory holds.

Knows nothing of collections; any table with a column `image_id` will do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pressrun.request import first_of_each

_MOST_BYTES = 64 << 20
_Run = Callable[[], pa.Table]


class SortedRows:
    """Rows by ascending image id, each image once: the row that was added first.

    Rows are held up to a limit, then written down as a sorted run; reading merges one range of ids of all runs at a
    time. Ids are hashes, so ranges are about as large as a run.

    Parameters
    ----------
    scratch : Path
        A folder for the runs, which the caller removes.
    schema : pyarrow.Schema
        Of the rows.
    most_bytes : int
        Bytes of rows held before they are written down; some four times as many are held while reading.
    """

    def __init__(self, scratch: Path, schema: pa.Schema, most_bytes: int = _MOST_BYTES) -> None:
        self._scratch = scratch
        self.schema = schema
        self._most_bytes = most_bytes
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._files: list[Path] = []

    def add(self, rows: pa.Table) -> None:
        """Add rows, in any order."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._most_bytes:
            self._write_down(_sorted(self._held))
            self._held, self._held_bytes = [], 0

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the rows in order, a table at a time; can be iterated again."""
        runs: list[_Run] = [partial(_mapped, file) for file in self._files]
        if self._held:
            held = _sorted(self._held)
            runs.append(lambda: held)
        edges = _edges(runs)
        cuts = [_cuts(run(), edges) for run in runs]
        for number in range(len(runs)):
            # Opened for one range only: pages of a file that stays mapped would count as this process's memory.
            pieces = [
                run().slice(cut[number], cut[number + 1] - cut[number]) for run, cut in zip(runs, cuts, strict=True)
            ]
            rows = first_of_each(_sorted(pieces))
            del pieces
            if rows.num_rows:
                yield rows

    def _write_down(self, rows: pa.Table) -> None:
        file = self._scratch / f"run-{len(self._files):06}.arrow"
        with pa.ipc.new_file(str(file), rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        self._files.append(file)


def _mapped(file: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def _sorted(tables: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables)
    return rows.take(pc.sort_indices(rows.column("image_id")))  # stable: what was added first stays first


def _edges(runs: list[_Run]) -> list[str]:
    """Return ids that part all runs into about equal ranges, as many as there are runs."""
    ids = runs[0]().column("image_id") if runs else []
    return [ids[number * len(ids) // len(runs)].as_py() for number in range(1, len(runs))]


def _cuts(run: pa.Table, edges: list[str]) -> list[int]:
    ids = run.column("image_id")
    return [0, *(bisect_left(ids, edge, key=lambda one: one.as_py()) for edge in edges), run.num_rows]
