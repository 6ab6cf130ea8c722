from __future__ import annotations

import pickle

from pressrun.batch import Batch
from pressrun.table_bytes import from_bytes, to_bytes
from tests.pressrun.small_collection import stars


def test_a_table_comes_back_as_it_was_and_a_slice_takes_its_own_rows_alone() -> None:
    table = stars(1000)
    assert from_bytes(to_bytes(table)).equals(table)
    few = table.slice(990, 5)
    assert from_bytes(to_bytes(few)).equals(few)
    assert len(to_bytes(few)) < len(to_bytes(table)) / 20


def test_a_batch_travels_with_its_own_rows() -> None:
    batch = Batch("b", stars(1000).slice(10, 3), 4)
    data = pickle.dumps(batch)
    again = pickle.loads(data)
    assert (again.batch_id, again.size) == ("b", 4)
    assert again.requests.equals(batch.requests)
    assert len(data) < 10_000
