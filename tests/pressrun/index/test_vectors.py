from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.errors import InvalidCollection
from pressrun.index import sample as index_sample
from pressrun.index.recipe import IndexRecipe, index_recipe
from pressrun.index.vectors import Index, build_index
from tests.pressrun.index.small_vectors import DIMENSION, LISTS, matrix, nearest_ids, part, vectors


def test_exact_search_finds_the_true_neighbours_in_order() -> None:
    parts = [part(300), part(200, seed=1, first=300)]
    index = build_index(parts, DIMENSION)
    everything = np.concatenate([matrix(table) for table in parts])
    for query in vectors(20, seed=2).astype(np.float32):
        scores, positions = index.nearest(query[None], 10)
        np.testing.assert_array_equal(positions[0], np.argsort(-everything @ query, kind="stable")[:10])
        np.testing.assert_allclose(scores[0], np.sort(everything @ query)[::-1][:10], atol=1e-5)


def test_an_extended_index_answers_like_one_built_whole() -> None:
    first, second = part(300), part(200, seed=1, first=300)
    extended = build_index([first], DIMENSION)
    extended.extend([second])
    whole = build_index([first, second], DIMENSION)
    for query in vectors(20, seed=3):
        assert nearest_ids(extended, query, 7) == nearest_ids(whole, query, 7)


def test_rows_without_an_embedding_are_left_out() -> None:
    table = part(3)
    holes = pa.FixedSizeListArray.from_arrays(
        table.column("embedding").combine_chunks().flatten(), DIMENSION, mask=pa.array([False, True, False])
    )
    index = build_index([table.set_column(2, "embedding", holes)], DIMENSION)
    assert index.ids.to_pylist() == [table["image_id"][0].as_py(), table["image_id"][2].as_py()]


def test_an_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(InvalidCollection, match="00000000000000000000000000000001 stands in the manifest more"):
        build_index([part(3), part(1, first=1)], DIMENSION)


def test_an_embedding_of_another_length_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidCollection, match="embedding of 16 numbers, the index 8"):
        build_index([part(3)], 8)


def test_an_iterator_of_parts_is_enough() -> None:
    assert build_index(iter([part(3)]), DIMENSION).rows == 3


def test_lists_are_tuned_to_the_recall_that_is_recorded() -> None:
    table = part(6000)
    index = build_index([table.slice(0, 3500), table.slice(3500)], DIMENSION, LISTS)
    assert index.tuning.recall >= 0.95
    assert 1 <= index.tuning.probes < 64
    assert (index.tuning.queries, index.tuning.rows) == (200, 6000)
    queries = vectors(100, seed=5).astype(np.float32)
    truth = np.argsort(-queries @ matrix(table).T, axis=1)[:, :10]
    _, found = index.nearest(queries, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)]) >= 0.9


@pytest.mark.parametrize(
    ("sizes", "most"), [([1000], 1000), ([1000], 999), ([7, 400, 1, 593, 0, 3], 100), ([64] * 9, 16)]
)
def test_the_sample_is_spread_evenly_over_all_parts(
    sizes: list[int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_sample, "_SURVEY_ROWS", most)
    everything = part(sum(sizes))
    ends = np.cumsum(sizes)
    rows, sample = index_sample.survey(
        [everything.slice(end - size, size) for end, size in zip(ends, sizes, strict=True)], DIMENSION
    )
    assert rows == sum(sizes)
    assert most / 2 <= len(sample) <= most
    stride = -(-rows // len(sample))
    np.testing.assert_array_equal(sample, matrix(everything)[::stride])


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), count=st.integers(1, 12))
def test_the_true_neighbours_are_found_chunk_by_chunk(sizes: list[int], count: int) -> None:
    table = vectors(sum(sizes)).astype(np.float32)
    queries = vectors(3, seed=7).astype(np.float32)
    truth = index_sample.ExactNeighbours(queries, count)
    for chunk in np.split(table, np.cumsum(sizes)[:-1]):
        truth.see(chunk)
    scores = queries @ table.T
    found = np.take_along_axis(scores, truth.positions, axis=1)
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :count], atol=1e-6)


def test_a_recall_out_of_reach_is_recorded_as_it_is() -> None:
    index = build_index([part(3000)], DIMENSION, IndexRecipe("IVF16,PQ2x4", 16))
    assert index.tuning.probes == 16
    assert index.tuning.recall < 0.95


@pytest.mark.parametrize("recipe", [None, LISTS])
def test_a_search_among_few_positions_finds_all_of_them(recipe: IndexRecipe | None) -> None:
    table = part(4000)
    index = build_index([table], DIMENSION, recipe)
    chosen = np.array([3, 999, 1500, 3999])
    query = vectors(1, seed=8).astype(np.float32)
    for _ in range(5):  # a selector freed too early would answer differently
        gc.collect()
        scores, positions = index.nearest(query, 10, among=chosen)
        assert set(positions[0]) == set(chosen)
    np.testing.assert_allclose(scores[0], np.sort(matrix(table)[chosen] @ query[0])[::-1], atol=1e-3)


def test_nothing_can_be_searched() -> None:
    _, positions = build_index([], DIMENSION).nearest(vectors(1).astype(np.float32), 5)
    assert positions.shape == (1, 0)


@given(rows=st.integers(0, 10**8), dimension=st.integers(1, 4096))
def test_the_recipe_fits_the_size(rows: int, dimension: int) -> None:
    recipe = index_recipe(rows, dimension)
    assert (recipe.lists == 0) == (rows <= 200_000)
    assert recipe.lists * 40 <= max(rows, 1)  # enough rows to train on
    assert recipe.factory == ("Flat" if not recipe.lists else recipe.factory)
    assert ("SQ8" in recipe.factory) == (bool(recipe.lists) and rows * dimension * 2 > 8 << 30)


def test_the_recipes_build_what_they_name() -> None:
    recipe = index_recipe(200_001, DIMENSION)
    small = IndexRecipe(recipe.factory.replace(str(recipe.lists), "8"), 8)
    assert build_index([part(400)], DIMENSION, small).rows == 400


def test_ids_that_do_not_match_the_vectors_are_refused() -> None:
    index = build_index([part(5)], DIMENSION)
    with pytest.raises(InvalidCollection, match="5 vectors but 4 ids"):
        Index.from_bytes(index.to_bytes(), index.ids.slice(0, 4), index.recipe, index.tuning)
