"""The users' own row ids of a whole prompt file, and which of them stand twice.

Knows nothing of what else a row holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.bucket_order import rows_at
from pressrun.image_ids import ImageIds, first_not_held
from pressrun.prompts.problems import ProblemList
from pressrun.spill import Spill

_NOTED_AT_ONCE = 1024
_SCHEMA = pa.schema([("id", pa.string()), ("row", pa.int64())])


class IdRegister:
    """Ids and their rows, on disk when there are many; in memory stays a digest of 16 bytes an id."""

    def __init__(self) -> None:
        self._spill = Spill(_SCHEMA)
        self._digests = ImageIds()

    def add(self, ids: Sequence[str | None], rows: Sequence[int]) -> None:
        """Note the ids of some rows; None where a row has none.

        Parameters
        ----------
        ids : sequence of str or None
            One a row.
        rows : sequence of int
            Row numbers.
        """
        if not any(ids):
            return
        batch = pa.record_batch([pa.array(ids, pa.string()), pa.array(rows)], schema=_SCHEMA).drop_null()
        self._spill.add(batch)
        for text in batch["id"].to_pylist():
            self._digests.add_digest(blake2b(text.encode(), digest_size=16).digest())

    def note_duplicates(self, column: str, problems: ProblemList) -> None:
        """Note every row whose id an earlier row has.

        Parameters
        ----------
        column : str
            Column name as the file spells it.
        problems : ProblemList
            Takes the duplicates, each naming both rows.
        """
        again = np.flatnonzero(~first_not_held(self._digests, ImageIds()).rows)
        table = self._spill.table()
        for start in range(0, len(again), _NOTED_AT_ONCE):
            doubled = pa.Table.from_batches(rows_at(table, again[start : start + _NOTED_AT_ONCE]))
            first_row = _first_rows(table, doubled["id"].combine_chunks())
            for text, row in zip(doubled["id"].to_pylist(), doubled["row"].to_pylist(), strict=True):
                remedy = f"row {first_row[text]} has the same id; give each row its own"
                problems.add(row, column, text, remedy)
            if problems.full:
                return


def _first_rows(table: pa.Table, ids: pa.Array) -> dict[str, int]:
    """Return the first row of each of some ids."""
    found: dict[str, int] = {}
    for batch in table.to_batches():
        rows = batch.filter(pc.is_in(batch["id"], value_set=ids))
        for text, row in zip(rows["id"].to_pylist(), rows["row"].to_pylist(), strict=True):
            found.setdefault(text, row)
    return found
