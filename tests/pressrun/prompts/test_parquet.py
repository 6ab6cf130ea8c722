"""Claims about Parquet files: types that are carried, files that are broken."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pressrun.request import derived_seed
from tests.pressrun.prompts.prompt_samples import (
    as_parquet,
    file_problems,
    only_remedy,
    read_bytes,
)


def test_a_parquet_file_without_rows_is_said() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), sink)
    assert only_remedy("a.parquet", sink.getvalue()) == "has a header (prompt) but no rows; add at least one"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"prompt\nx\n", as_parquet([{"prompt": "x"}])[:-20]])
def test_what_is_no_parquet_is_said(content: bytes) -> None:
    assert "not readable as Parquet" in only_remedy("a.parquet", content)


def test_parquet_keeps_the_types_of_other_columns() -> None:
    table = pa.table(
        {
            "prompt": ["a", "b"],
            "day": pa.array([datetime.date(2026, 1, 2), None]),
            "at": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "n": [1, None],
            "x": [1.5, float("nan")],
            "yes": [True, None],
            "list": [[{"k": 1}], None],
            "seed": pa.array([7.0, None]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    requests = read_bytes("a.parquet", sink.getvalue())
    extras = requests["extra"].to_pylist()
    assert json.loads(extras[0]) == {
        "at": "2023-11-14T22:13:20.123456+00:00",
        "day": "2026-01-02",
        "list": [{"k": 1}],
        "n": 1,
        "x": 1.5,
        "yes": True,
    }
    assert list(json.loads(extras[0])) == sorted(json.loads(extras[0]))
    assert extras[1] == "{}"
    assert requests["seed"].to_pylist() == [7, derived_seed("b", 0)]


def test_parquet_text_that_is_not_utf_8_is_numbered() -> None:
    offsets = pa.array([0, 2, 4], pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ok\xff\xfe"))
    sink = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["x", "y"], "note": broken}), sink)
    (problem,) = file_problems("a.parquet", sink.getvalue())
    assert (problem.row, problem.column) == (2, "note")
    assert "is not UTF-8" in problem.remedy


def test_bytes_in_a_carried_column_are_refused() -> None:
    (problem,) = file_problems("a.parquet", as_parquet([{"prompt": "x", "raw": b"\x00"}]))
    assert (problem.row, problem.column) == (1, "raw")


def test_a_date_out_of_range_is_numbered() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["x", "y"], "at": pa.array([0, 2**62], pa.timestamp("us"))}), sink)
    (problem,) = file_problems("a.parquet", sink.getvalue())
    assert (problem.row, problem.column) == (2, "at")
    assert "out of range" in problem.remedy


def test_decimals_are_carried_with_all_their_digits() -> None:
    content = as_parquet([{"prompt": "x", "price": Decimal("0.10")}])
    assert read_bytes("a.parquet", content)["extra"].to_pylist() == ['{"price": "0.10"}']
