from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.plan import name_images
from pressrun.request import PIXEL_FIELDS, REQUEST_SCHEMA, derived_seed, first_of_each, image_id
from tests.pressrun.small_collection import DEFAULTS, REVISION

REQUEST: dict[str, Any] = DEFAULTS | {"prompt": "a red star", "row": 1}
OTHER: dict[str, Any] = {
    "prompt": "a red star ",
    "negative_prompt": "blue",
    "seed": 2,
    "width_px": 16,
    "height_px": 16,
    "steps": 3,
    "guidance_scale": 3.5,
    "scheduler": "ddim",
    "adapters": "ink:0.5",
    "row": 9,
    "image_number": 4,
    "user_id": "mine",
    "extra": '{"campaign": "x"}',
}
SHORT = st.text("ab1,:'", max_size=4)


def named(request: dict[str, Any], revision: str = REVISION) -> str:
    table = name_images(pa.Table.from_pylist([request], schema=REQUEST_SCHEMA), revision)
    value: str = table.column("image_id")[0].as_py()
    return value


@pytest.mark.parametrize("field", PIXEL_FIELDS)
def test_every_field_that_decides_the_pixels_changes_the_id(field: str) -> None:
    assert named(REQUEST | {field: OTHER[field]}) != named(REQUEST)


@pytest.mark.parametrize("field", sorted(set(REQUEST_SCHEMA.names) - set(PIXEL_FIELDS) - {"image_id"}))
def test_no_other_field_changes_the_id(field: str) -> None:
    assert named(REQUEST | {field: OTHER[field]}) == named(REQUEST)


def test_other_weights_make_another_picture() -> None:
    assert named(REQUEST, "0" * 32) != named(REQUEST)


def test_ids_stay_what_they_were_in_collections_already_written() -> None:
    assert named(REQUEST) == "4096d171d80ccc1de8d26f31792c3b33"


@given(st.tuples(SHORT, SHORT, st.integers(0, 20), SHORT), st.tuples(SHORT, SHORT, st.integers(0, 20), SHORT))
def test_neighbouring_values_never_run_into_one_another(
    one: tuple[str, str, int, str], other: tuple[str, str, int, str]
) -> None:
    same = one == other
    assert (image_id(one[:3], one[3]) == image_id(other[:3], other[3])) == same


def test_values_that_share_their_letters_have_ids_of_their_own() -> None:
    splits = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("1:a", "bc"), ("a1:", "bc")]
    assert len({image_id(split, "") for split in splits}) == len(splits)


@given(st.text(max_size=50))
def test_derived_seeds_are_fixed_by_the_text_and_differ_between_images(prompt: str) -> None:
    seeds = [derived_seed(prompt, number) for number in range(20)]
    assert seeds == [derived_seed(prompt, number) for number in range(20)]
    assert len(set(seeds)) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_derived_seeds_differ_between_prompts() -> None:
    assert len({derived_seed(f"prompt {number}", 0) for number in range(1000)}) == 1000
    assert derived_seed("1:a", 1) != derived_seed("a", 11)


@given(st.lists(st.integers(0, 6), max_size=30), st.lists(st.integers(0, 30), max_size=3))
def test_the_first_of_each_image_is_kept_in_order(numbers: list[int], cuts: list[int]) -> None:
    rows = pa.table(
        {"image_id": pa.array([str(n) for n in numbers], pa.string()), "at": pa.array(range(len(numbers)), pa.int64())}
    )
    edges = [0, *sorted(cut for cut in cuts if cut < len(numbers)), len(numbers)]
    chunked = pa.concat_tables(rows.slice(start, stop - start) for start, stop in pairwise(edges))
    kept = first_of_each(chunked).column("at").to_pylist()
    assert kept == [at for at, number in enumerate(numbers) if number not in numbers[:at]]
