from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.export.sorted_rows import SortedRows

SCHEMA = pa.schema([("image_id", pa.string()), ("added", pa.int64()), ("vector", pa.list_(pa.float16(), 2))])


def tables(batches: list[list[str]]) -> list[pa.Table]:
    number, found = 0, []
    for ids in batches:
        added = list(range(number, number + len(ids)))
        vectors = [[float(one % 7), 0.0] for one in added]
        found.append(pa.table({"image_id": ids, "added": added, "vector": vectors}, SCHEMA))
        number += len(ids)
    return found


@settings(deadline=None)
@given(
    batches=st.lists(st.lists(st.text("0123456789abcdef", min_size=1, max_size=3), max_size=20), max_size=8),
    most_bytes=st.sampled_from([0, 300, 1 << 20]),
)
def test_rows_come_by_id_each_once_and_the_first_added_stays(batches: list[list[str]], most_bytes: int) -> None:
    firsts: dict[str, int] = {}
    for number, image_id in enumerate(image_id for batch in batches for image_id in batch):
        firsts.setdefault(image_id, number)
    with TemporaryDirectory() as scratch:
        rows = SortedRows(Path(scratch), SCHEMA, most_bytes)
        for table in tables(batches):
            rows.add(table)
        for _ in range(2):
            found = [row for table in rows for row in table.to_pylist()]
            assert [(row["image_id"], row["added"]) for row in found] == sorted(firsts.items())
            assert all(row["vector"] == [float(row["added"] % 7), 0.0] for row in found)


def test_what_memory_cannot_hold_is_read_back_in_pieces_of_about_one_run(tmp_path: Path) -> None:
    ids = [f"{number * 7919 % 10_000:06x}" for number in range(10_000)]
    rows = SortedRows(tmp_path, SCHEMA, most_bytes=20_000)
    for table in tables([ids[start : start + 100] for start in range(0, 10_000, 100)]):
        rows.add(table)
    runs = len(list(tmp_path.iterdir()))
    pieces = list(rows)
    assert runs > 5
    assert max(piece.num_rows for piece in pieces) < 3 * 10_000 / runs
    assert all(a["image_id"][-1].as_py() < b["image_id"][0].as_py() for a, b in pairwise(pieces))


def test_without_rows_there_is_nothing(tmp_path: Path) -> None:
    rows = SortedRows(tmp_path, SCHEMA)
    assert list(rows) == []
    rows.add(SCHEMA.empty_table())
    assert list(rows) == []


@pytest.mark.parametrize("empty_first", [True, False])
def test_tables_that_a_filter_emptied_do_no_harm(tmp_path: Path, empty_first: bool) -> None:
    rows = SortedRows(tmp_path, SCHEMA, most_bytes=0)
    given_tables = [SCHEMA.empty_table(), *tables([["b", "a"]])]
    for table in given_tables if empty_first else reversed(given_tables):
        rows.add(table)
    assert [one for table in rows for one in table.column("image_id").to_pylist()] == ["a", "b"]
