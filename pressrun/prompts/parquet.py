"""Prompts in a Parquet file.

Knows nothing of what the columns mean or of which values are right.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pressrun.prompts.chunk import CHUNK_ROWS, MAX_COLUMNS, Chunk, too_many_columns
from pressrun.prompts.problems import ProblemList
from pressrun.prompts.text import PromptBytes, UnreadableFile


def read_parquet(source: PromptBytes, problems: ProblemList) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file.

    Parameters
    ----------
    source : PromptBytes
        The file.
    problems : ProblemList
        Takes what makes the file unreadable.

    Yields
    ------
    Chunk
        Values as Python objects of the columns' types.
    """
    try:
        with source.open() as stream, pq.ParquetFile(stream) as file:
            names = tuple(file.schema_arrow.names)
            if len(names) > MAX_COLUMNS:
                too_many_columns(len(names), problems)
                return
            row = 1
            for batch in file.iter_batches(CHUNK_ROWS):
                rows = range(row, row + batch.num_rows)
                columns = zip(names, batch.columns, strict=True)
                yield Chunk(names, rows, [_objects(name, column, row, problems) for name, column in columns])
                row += batch.num_rows
            yield Chunk(names, (), [()] * len(names))
    except UnreadableFile as error:
        problems.add(0, "", "", str(error))
    except (pa.ArrowException, OSError) as error:
        remedy = (
            f"not readable as Parquet ({type(error).__name__}); write the file again, or check that its name is right"
        )
        problems.add(0, "", "", remedy)


def _objects(name: str, column: pa.Array, first_row: int, problems: ProblemList) -> list[object]:
    """Return a column as Python objects; None, with the problem noted, where there is none for a value."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)  # Python has no nanoseconds
    elif pa.types.is_time64(column.type):
        column = column.cast(pa.time64("us"), safe=False)
    try:
        objects: list[object] = column.to_pylist()
    except (ValueError, OverflowError):
        objects = [_object(name, scalar, row, problems) for row, scalar in enumerate(column, start=first_row)]
    return objects


def _object(name: str, scalar: pa.Scalar, row: int, problems: ProblemList) -> object:
    """Return one value as a Python object, or None with the problem noted."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        problems.add(row, name, "", "is not UTF-8; write the file again with UTF-8 text")
    except (ValueError, OverflowError):
        problems.add(row, name, "", f"is a {scalar.type} out of range; mend it or store the column as text")
    return None
