"""The users' own row ids of a whole prompt file, and which of them stand twice.

Knows nothing of what else a row holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pressrun.prompts.problems import ProblemList

_SCHEMA = pa.schema([("id", pa.string()), ("row", pa.int64())])


class IdRegister:
    """Ids and their rows, held as Arrow columns: a million take some ten megabytes."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []

    def add(self, ids: Sequence[str | None], rows: Sequence[int]) -> None:
        """Note the ids of some rows; None where a row has none.

        Parameters
        ----------
        ids : sequence of str or None
            One a row.
        rows : sequence of int
            Row numbers.
        """
        if any(ids):
            self._batches.append(pa.record_batch([pa.array(ids, pa.string()), pa.array(rows)], schema=_SCHEMA))

    def note_duplicates(self, column: str, problems: ProblemList) -> None:
        """Note every row whose id an earlier row has.

        Parameters
        ----------
        column : str
            Column name as the file spells it.
        problems : ProblemList
            Takes the duplicates, each naming both rows.
        """
        table = pa.Table.from_batches(self._batches, _SCHEMA).drop_null()
        counted = table.group_by("id").aggregate([("row", "min"), ("row", "count")])
        doubled = counted.filter(pc.greater(counted["row_count"], 1))
        if not doubled.num_rows:
            return
        first_row = dict(zip(doubled["id"].to_pylist(), doubled["row_min"].to_pylist(), strict=True))
        again = table.filter(pc.is_in(table["id"], value_set=doubled["id"].combine_chunks()))
        for batch in again.to_batches(max_chunksize=1024):
            for text, row in zip(batch["id"].to_pylist(), batch["row"].to_pylist(), strict=True):
                if row != first_row[text]:
                    remedy = f"row {first_row[text]} has the same id; give each row its own"
                    problems.add(row, column, text, remedy)
            if problems.full:
                return
