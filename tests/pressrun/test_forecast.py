from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.forecast import remaining_s, useful_workers


def test_what_remains_goes_by_the_rate_so_far() -> None:
    assert remaining_s(0, 100, 50.0) is None
    assert remaining_s(20, 100, 10.0) == pytest.approx(40.0)
    assert remaining_s(100, 100, 10.0) == 0.0


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_no_worker_is_without_a_batch(batches: int, largest: int) -> None:
    workers = useful_workers(batches, largest)
    assert 1 <= workers <= max(1, min(batches, largest))
