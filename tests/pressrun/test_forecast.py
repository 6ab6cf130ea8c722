from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.forecast import Forecast, remaining_s, useful_workers


def test_workers_share_the_time_and_not_the_cost() -> None:
    alone, shared = Forecast(100, 7200.0, 1, 3.0), Forecast(100, 7200.0, 4, 3.0)
    assert (alone.wall_s, shared.wall_s) == (7200.0, 1800.0)
    assert alone.cost == shared.cost == pytest.approx(6.0)


def test_without_a_price_there_is_no_cost() -> None:
    assert Forecast(100, 7200.0, 1).cost is None
    assert Forecast(100, 7200.0, 1, 0.0).cost == 0.0


def test_what_remains_goes_by_the_rate_so_far() -> None:
    assert remaining_s(0, 100, 50.0) is None
    assert remaining_s(20, 100, 10.0) == pytest.approx(40.0)
    assert remaining_s(100, 100, 10.0) == 0.0


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_no_worker_is_without_a_batch(batches: int, largest: int) -> None:
    workers = useful_workers(batches, largest)
    assert 1 <= workers <= max(1, min(batches, largest))
