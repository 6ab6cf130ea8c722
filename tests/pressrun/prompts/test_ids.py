from __future__ import annotations

import pyarrow as pa
import pytest

from pressrun.errors import InvalidPrompts
from pressrun.prompts.ids import IdRegister
from pressrun.prompts.problems import ProblemList

CHUNK_ROWS = 10_000


def noted(ids: list[str | None]) -> list[tuple[int, str]]:
    """Return the row and the remedy of every id that stands again."""
    register, problems = IdRegister(), ProblemList()
    for start in range(0, len(ids), CHUNK_ROWS):
        chunk = ids[start : start + CHUNK_ROWS]
        register.add(chunk, range(start + 1, start + 1 + len(chunk)))
    register.note_duplicates("name", problems)
    with pytest.raises(InvalidPrompts) as raised:
        problems.raise_if_any("ids.csv")
    return [(problem.row, problem.remedy) for problem in raised.value.problems]


@pytest.mark.parametrize("rows", [100, 70_000])
def test_every_row_that_repeats_an_id_names_the_first(rows: int) -> None:
    ids: list[str | None] = [f"id-{number}" for number in range(rows)]
    ids[40] = ids[41] = None
    ids[rows - 1] = ids[rows - 3] = ids[7]
    ids[50] = ids[49]
    assert noted(ids) == [
        (51, "row 50 has the same id; give each row its own"),
        (rows - 2, "row 8 has the same id; give each row its own"),
        (rows, "row 8 has the same id; give each row its own"),
    ]


def test_many_ids_take_little_memory() -> None:
    register = IdRegister()
    before = pa.total_allocated_bytes()
    for start in range(0, 200_000, CHUNK_ROWS):
        rows = range(start, start + CHUNK_ROWS)
        register.add([f"the picture with the number {row}" for row in rows], rows)
    assert pa.total_allocated_bytes() - before < 1_000_000
