from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.image_ids import IdLookup, ImageIds, first_not_held

# Near neighbours: ids that differ in one half only, or in one bit.
NEAR = [f"{high:016x}{low:016x}" for high in (0, 1, 2**63) for low in (0, 1, 2**63)]
SOME = st.lists(st.sampled_from(NEAR), max_size=20)


def image_ids(texts: list[str], skipped: int = 0) -> ImageIds:
    """Return ids, of which the first are cut off a larger array."""
    found = ImageIds()
    found.add(pa.array(NEAR[:skipped] + texts, pa.string()).slice(skipped))
    return found


@given(SOME, SOME, st.integers(0, 3))
def test_every_bit_of_an_id_counts(asked: list[str], held: list[str], skipped: int) -> None:
    choice = first_not_held(image_ids(asked, skipped), image_ids(held))
    wanted = [text not in held and text not in asked[:at] for at, text in enumerate(asked)]
    assert choice.rows.tolist() == wanted
    assert choice.distinct == len(set(asked))


@given(st.lists(st.sampled_from(NEAR), unique=True), st.sets(st.sampled_from(NEAR)), SOME)
def test_ids_are_found_where_they_stand(many: list[str], among: set[str], wanted: list[str]) -> None:
    lookup = IdLookup(image_ids(many), np.array([text in among for text in many], np.bool_))
    places = [many.index(text) if text in many and text in among else -1 for text in wanted]
    assert lookup.find(image_ids(wanted)).tolist() == places


@given(SOME, SOME)
def test_ids_come_in_chunks(one: list[str], other: list[str]) -> None:
    chunks, whole = image_ids(one), image_ids(one + other)
    chunks.add(pa.array(other, pa.string()))
    assert len(chunks) == len(one) + len(other)
    assert chunks.numbers().tolist() == whole.numbers().tolist()


@pytest.mark.parametrize("wrong", ["", "ab", "A" * 32, "g" * 32, f" {'0' * 31}", f"{'0' * 32}\n", None])
def test_what_is_no_id_is_refused(wrong: str | None) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        image_ids([NEAR[0], wrong])  # type: ignore[list-item]
