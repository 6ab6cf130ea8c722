"""How many reads at once an origin is asked for: as many as do not take longer for it."""

from __future__ import annotations

import pytest

from pressrun.cache.origin_pace import OriginPace

MIB = 2**20
FEWEST = 8


def reads_after(most_at_full_speed: float) -> float:
    """Return how many reads are asked for in the end of an origin that gives so many their full speed."""
    pace = OriginPace()
    for _ in range(300):
        reads = max(FEWEST, int(pace.reads))
        pace.took(8 * MIB, 0.1 * max(1.0, reads / most_at_full_speed), reads)
    return pace.reads


def test_an_origin_that_gives_each_reader_its_own_speed_is_asked_for_more_and_more() -> None:
    assert reads_after(1000) > 64


@pytest.mark.parametrize("most", [10, 20, 40])
def test_an_origin_whose_link_is_full_is_asked_for_little_more_than_fills_it(most: int) -> None:
    assert most - 1 < reads_after(most) < 1.5 * most + 3


def test_small_files_say_nothing_of_speed() -> None:
    pace = OriginPace()
    pace.took(8 * MIB, 0.1, FEWEST)
    before = pace.reads
    pace.took(500, 0.05, FEWEST)
    assert pace.reads == before
