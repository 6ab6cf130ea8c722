from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun.spill import spilled

SCHEMA = pa.schema([("text", pa.string()), ("number", pa.int64())])
BATCH_ROWS = 10_000


def batches(count: int) -> Iterator[pa.RecordBatch]:
    for number in range(count):
        rows = range(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
        yield pa.record_batch([[f"a text of some length, number {row}" for row in rows], list(rows)], schema=SCHEMA)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_the_rows_are_those_that_came(count: int) -> None:
    table = spilled(batches(count), SCHEMA)
    assert table.equals(pa.Table.from_batches(batches(count), SCHEMA))


def test_a_large_table_takes_no_memory_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = pa.total_allocated_bytes()
    table = spilled(batches(20), SCHEMA)
    assert table.nbytes > 8_000_000
    assert pa.total_allocated_bytes() - before < 1_000_000
    assert os.listdir(tmp_path) == []
    assert table.slice(150_000, 1).to_pylist() == [{"text": "a text of some length, number 150000", "number": 150_000}]


def test_a_small_table_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "is-not-there"))
    assert spilled(batches(2), SCHEMA).num_rows == 2 * BATCH_ROWS


def test_a_full_disk_is_said_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="TMPDIR"):
            spilled(batches(20), SCHEMA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []
