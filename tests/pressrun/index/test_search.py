from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pressrun.errors import InvalidQuery
from pressrun.index.query import Condition, matching, parse_condition
from pressrun.index.recipe import IndexRecipe
from pressrun.index.search import Hit, search
from pressrun.index.vectors import build_index
from pressrun.manifest import manifest_schema

DIMENSION = 8
SCHEMA = manifest_schema(DIMENSION)
WORDS = ("red star", "Blue STAR", "green circle", "yellow ring, small")


def rows_of(count: int, vectors: np.ndarray | None = None) -> pa.Table:
    if vectors is None:
        vectors = np.random.default_rng(count).normal(size=(count, DIMENSION))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return pa.table(
        {
            "image_id": [f"{i:032x}" for i in range(count)],
            "path": [f"images/{i}.png" for i in range(count)],
            "prompt": [WORDS[i % 4] for i in range(count)],
            "user_id": [None if i % 3 else f"user-{i}" for i in range(count)],
            "seed": pa.array(range(count), pa.int64()),
            "width_px": pa.array([64 if i % 2 else 96 for i in range(count)], pa.int32()),
            "guidance_scale": [i / 2 for i in range(count)],
            "created_at": pa.array(
                [datetime(2026, 1, 1 + i % 28, tzinfo=UTC) for i in range(count)], pa.timestamp("ms", tz="UTC")
            ),
            "extra": [
                json.dumps({"campaign": ("Summer", "winter")[i % 2], "weight": str(i), "n": i} if i % 5 else {})
                for i in range(count)
            ],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(unit.reshape(-1)), DIMENSION),
        }
    )


def where(*texts: str) -> list[Condition]:
    return [parse_condition(text, SCHEMA) for text in texts]


def chosen_seeds(rows: pa.Table, *texts: str) -> set[int]:
    return set(np.flatnonzero(matching(rows, where(*texts))).tolist())


def unit(seed: int = 0) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["width_px=64"], lambda i: i % 2 == 1),
        (["width_px == 64"], lambda i: i % 2 == 1),
        (["seed>=10"], lambda i: i >= 10),
        (["seed > 10", "seed<20"], lambda i: 10 < i < 20),
        (["seed<=1e1"], lambda i: i <= 10),
        (["guidance_scale=2.5"], lambda i: i == 5),
        (["guidance_scale!=3"], lambda i: i != 6),
        (["prompt~star"], lambda i: i % 4 < 2),
        (["prompt=red star"], lambda i: i % 4 == 0),
        (["prompt='red star'"], lambda i: i % 4 == 0),
        (["prompt~ring, small"], lambda i: i % 4 == 3),
        (["user_id=user-3"], lambda i: i == 3),
        (["user_id!=user-3"], lambda i: i != 3),
        (["created_at<2026-01-04"], lambda i: i % 28 < 3),
        (["created_at>=2026-01-04T00:00:00+00:00"], lambda i: i % 28 >= 3),
        (["extra.campaign=Summer"], lambda i: i % 5 and i % 2 == 0),
        (["extra.campaign~SUM"], lambda i: i % 5 and i % 2 == 0),
        (["extra.campaign!=Summer"], lambda i: not (i % 5 and i % 2 == 0)),
        (["extra.weight>=9"], lambda i: i % 5 and i >= 9),
        (["extra.n<3"], lambda i: i % 5 and i < 3),
        (["extra.n=7.0"], lambda i: i == 7),
        (["extra.missing=1"], lambda i: False),
        ([], lambda i: True),
    ],
)
def test_conditions_choose_the_rows_they_name(texts: list[str], expected: object) -> None:
    assert chosen_seeds(rows_of(40), *texts) == {i for i in range(40) if expected(i)}  # type: ignore[operator]


def test_a_value_may_hold_operators() -> None:
    assert where("prompt=a=b>c")[0] == Condition("prompt", "=", "a=b>c")


@given(st.text(max_size=40))
@example("NAN")
def test_any_value_is_text_and_never_code(text: str) -> None:
    rows = pa.table({"prompt": [text, text + "x"], "extra": [json.dumps({"k": text}), "{}"]})
    condition = Condition("prompt", "=", text)
    assert matching(rows, [condition]).tolist() == [True, False]
    assert matching(rows, [Condition("extra.k", "=", text)]).tolist() == [True, False]


@pytest.mark.parametrize("text", ["", "seed", "=3", "seed!3", "  ", "~"])
def test_what_cannot_be_read_shows_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidQuery, match="write NAME=VALUE"):
        parse_condition(text, SCHEMA)


def test_an_unknown_column_lists_those_there_are_and_the_nearest() -> None:
    with pytest.raises(InvalidQuery, match=r"'widht_px'.*did you mean width_px\?.*seed, .*extra\.NAME") as caught:
        parse_condition("widht_px=64", SCHEMA)
    assert "embedding" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed=ten", "seed needs a number, not 'ten'"),
        ("created_at>yesterday", "created_at needs a date"),
        ("seed~1", "~ works on text only"),
        ("extra=1", "no column 'extra'"),
        ("extra.=1", "names no column"),
        ("embedding=1", "no column 'embedding'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidQuery, match=told):
        parse_condition(text, SCHEMA)


def test_hits_come_best_first_with_their_rows() -> None:
    rows = rows_of(50)
    hits = search(build_index([rows], DIMENSION), rows, unit(), 5)
    matrix = rows["embedding"].combine_chunks().flatten().to_numpy().astype(np.float32).reshape(-1, DIMENSION)
    assert [hit.row["seed"] for hit in hits] == np.argsort(-matrix @ unit())[:5].tolist()
    first = hits[0]
    number = first.row["seed"]
    assert (first.image_id, first.path) == (f"{number:032x}", f"images/{number}.png")
    assert first.prompt == WORDS[number % 4]
    assert first.score == pytest.approx(float((matrix @ unit()).max()), abs=1e-5)
    assert "embedding" not in first.row


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 60), k=st.integers(1, 80), copies=st.integers(1, 40), seed=st.integers(0, 5))
def test_equal_scores_are_ordered_by_id_even_at_the_end(count: int, k: int, copies: int, seed: int) -> None:
    different = np.random.default_rng(seed).normal(size=(-(-count // copies), DIMENSION))
    rows = rows_of(count, np.repeat(different, copies, axis=0)[:count])
    shuffled = rows.take(np.random.default_rng(seed).permutation(count))
    hits = search(build_index([shuffled], DIMENSION), rows, unit(seed), k)
    assert len(hits) == min(k, count)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.image_id))
    everything = search(build_index([rows], DIMENSION), rows, unit(seed), count)
    assert [hit.image_id for hit in hits] == [hit.image_id for hit in everything[:k]]


@pytest.mark.parametrize("recipe", [None, IndexRecipe("IVF32,SQfp16", 32)])
def test_a_filter_still_finds_k_when_k_exist(recipe: IndexRecipe | None) -> None:
    rows = rows_of(2000)
    index = build_index([rows], DIMENSION, recipe)
    hits = search(index, rows, unit(), 7, where("seed>=1000", "seed<1020", "width_px=64"))
    assert len(hits) == 7
    assert all(1000 <= hit.row["seed"] < 1020 for hit in hits)
    assert len(search(index, rows, unit(), 100, where("seed>=1000", "seed<1020", "width_px=64"))) == 10
    assert search(index, rows, unit(), 5, where("seed>5000")) == []


def test_lists_give_as_many_as_exist_when_asked_for_more_than_they_visit() -> None:
    rows = rows_of(2000)
    index = build_index([rows], DIMENSION, IndexRecipe("IVF32,SQfp16", 32))
    assert len(search(index, rows, unit(), 1990)) == 1990


def test_pictures_that_are_gone_from_the_manifest_are_passed_over() -> None:
    rows = rows_of(100)
    left = rows.slice(60)
    hits = search(build_index([rows], DIMENSION), left, unit(), 30)
    assert len(hits) == 30
    assert all(hit.row["seed"] >= 60 for hit in hits)


def test_an_empty_index_has_no_hits() -> None:
    rows = rows_of(3)
    assert search(build_index([], DIMENSION), rows, unit(), 3) == []
    assert search(build_index([], DIMENSION), rows, unit(), 3, where("seed>=0")) == []


def test_a_query_of_another_length_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidQuery, match="5 numbers but the index 8"):
        search(build_index([rows_of(3)], DIMENSION), rows_of(3), np.ones(5, np.float32), 3)


def test_fewer_than_one_picture_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="0 pictures"):
        search(build_index([rows_of(3)], DIMENSION), rows_of(3), unit(), 0)


def test_a_hit_is_a_plain_record() -> None:
    rows = rows_of(1)
    (hit,) = search(build_index([rows], DIMENSION), rows, unit(), 1)
    assert isinstance(hit, Hit)
    assert set(hit.row) == {"user_id", "seed", "width_px", "guidance_scale", "created_at", "extra"}
