"""A chunk: some neighbouring rows of a prompt file, as raw columns.

Knows nothing of file formats, of what the columns mean, or of which values are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pressrun.prompts.problems import ProblemList

CHUNK_ROWS = 10_000
MAX_COLUMNS = 1_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some neighbouring rows of a prompt file, as they stand there.

    Parameters
    ----------
    names : tuple of str
        Column names.
    rows : sequence of int
        Row numbers.
    columns : sequence of sequences
        Values by column, one a row; None where a row has none.
    """

    names: tuple[str, ...]
    rows: Sequence[int]
    columns: Sequence[Sequence[object]]


def too_many_columns(count: int, problems: ProblemList) -> None:
    """Note that a file has more columns than any prompt file needs."""
    problems.add(0, "", "", f"has {count:,} columns or more, the limit is {MAX_COLUMNS:,}; delete those not needed")
