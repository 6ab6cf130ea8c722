from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.cache.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.05)), min_size=1), st.floats(1e3, 1e7))
def test_who_waits_as_told_keeps_to_the_rate(moves: list[tuple[int, float]], rate: float) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock)
    began = clock.now_s
    for moved_bytes, working_s in moves:
        clock.now_s += working_s
        clock.now_s += limit.due_s(moved_bytes)
    took_s = clock.now_s - began
    moved = sum(moved_bytes for moved_bytes, _ in moves)
    assert moved / rate <= took_s + 0.1 + 1e-6
    assert took_s <= moved / rate + sum(working_s for _, working_s in moves) + 1e-6


def test_time_slept_too_long_is_made_up_and_idle_time_is_not() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock)
    assert limit.due_s(1000) == pytest.approx(1)
    clock.now_s += 1.05
    assert limit.due_s(1000) == pytest.approx(0.95)
    clock.now_s += 60
    assert limit.due_s(1000) == pytest.approx(0.9)


@pytest.mark.parametrize(("rate", "step"), [(1, 65536), (4_000_000, 80_000), (1e9, 262_144)])
def test_steps_are_small_enough_to_be_smooth(rate: float, step: int) -> None:
    assert RateLimit(rate).step_bytes == step


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_moves_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        RateLimit(rate)
