from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.export.shards import Limits, cut

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=40)


def tables(sizes: list[int], step: int) -> list[pa.Table]:
    table = pa.table({"size_bytes": pa.array(sizes, pa.int64()), "number": range(len(sizes))})
    return [table.slice(start, step) for start in range(0, len(sizes), step)]


def shards(sizes: list[int], step: int, limits: Limits) -> list[list[int]]:
    found = []
    for number, pieces in cut(tables(sizes, step), limits):
        assert number == len(found)
        found.append([one for piece in pieces for one in piece.column("number").to_pylist()])
    return found


@settings(deadline=None)
@given(sizes=SIZES, step=st.integers(1, 40), images=st.integers(1, 12), most=st.integers(1, 120) | st.none())
def test_shards_are_as_full_as_their_limits_allow(sizes: list[int], step: int, images: int, most: int | None) -> None:
    found = shards(sizes, step, Limits(images, most))
    assert [one for shard in found for one in shard] == list(range(len(sizes)))
    for shard in found:
        held = sum(sizes[one] for one in shard)
        assert len(shard) <= images
        assert most is None or held <= most or len(shard) == 1
        if shard is not found[-1]:
            assert len(shard) == images or (most is not None and held + sizes[shard[-1] + 1] > most)


@settings(deadline=None)
@given(sizes=SIZES, step=st.integers(1, 40))
def test_cuts_do_not_depend_on_how_the_rows_come(sizes: list[int], step: int) -> None:
    assert shards(sizes, step, Limits(7, 90)) == shards(sizes, len(sizes), Limits(7, 90))


def test_a_shard_that_is_passed_over_leaves_the_next_ones_as_they_are() -> None:
    chosen = [list(pieces) for number, pieces in cut(tables([1] * 10, 4), Limits(3, None)) if number == 2]
    assert [one for piece in chosen[0] for one in piece.column("number").to_pylist()] == [6, 7, 8]
