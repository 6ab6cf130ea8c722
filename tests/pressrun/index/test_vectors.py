from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun import layout, manifest
from pressrun.errors import InvalidCollection
from pressrun.index import sample as index_sample
from pressrun.index.generations import commit_index, current_index, load_index
from pressrun.index.recipe import IndexRecipe, index_recipe
from pressrun.index.vectors import Index, build_index
from pressrun.location import Location
from pressrun.storage import Store

DIMENSION = 16
LISTS = IndexRecipe("IVF64,SQfp16", 64)


def vectors(rows: int, seed: int = 0, clusters: int = 40) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, DIMENSION))
    points = centres[random.integers(clusters, size=rows)] + 0.3 * random.normal(size=(rows, DIMENSION))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)


def part(rows: int, seed: int = 0, first: int = 0) -> pa.Table:
    ids = [f"{first + i:032x}" for i in range(rows)]
    flat = pa.array(vectors(rows, seed).reshape(-1))
    return pa.table({"image_id": ids, "embedding": pa.FixedSizeListArray.from_arrays(flat, DIMENSION)})


def matrix(table: pa.Table) -> np.ndarray:
    return table.column("embedding").combine_chunks().flatten().to_numpy().astype(np.float32).reshape(-1, DIMENSION)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path) if request.param == "file" else f"memory://{tmp_path}"))


def nearest_ids(index: Index, query: np.ndarray, count: int) -> list[str]:
    _, positions = index.nearest(query[None].astype(np.float32), count)
    return index.ids.take(pa.array(positions[0])).to_pylist()


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
    index = build_index([table.set_column(1, "embedding", holes)], DIMENSION)
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


def test_an_index_comes_back_as_it_was_written(store: Store) -> None:
    manifest.write_part(store, part(50))
    written = commit_index(store, DIMENSION, "clip-1")
    index, meta = load_index(store)
    assert meta == written == current_index(store)
    assert (meta.rows, meta.dimension, meta.embedder_revision) == (50, DIMENSION, "clip-1")
    query = matrix(part(50))[17]
    assert nearest_ids(index, query, 1) == [f"{17:032x}"]


def test_lists_and_their_tuning_survive_the_way_to_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pressrun.index.generations.index_recipe", lambda rows, dimension: LISTS)
    monkeypatch.setattr("pressrun.index.vectors.index_recipe", lambda rows, dimension: LISTS)
    manifest.write_part(store, part(3000))
    commit_index(store, DIMENSION, "clip-1")
    index, meta = load_index(store)
    assert index.tuning == meta.tuning
    assert meta.tuning.recall >= 0.95
    fresh = build_index([part(3000)], DIMENSION)
    assert nearest_ids(index, vectors(1, 4)[0], 5) == nearest_ids(fresh, vectors(1, 4)[0], 5)


def snapshot(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name, _ in store.walk(layout.INDEX)}


def test_a_commit_with_nothing_new_writes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.write_part(store, part(5))
    first = commit_index(store, DIMENSION, "clip-1")
    monkeypatch.setattr(store, "write", lambda *_: pytest.fail("wrote"))
    assert commit_index(store, DIMENSION, "clip-1") == first


def test_new_parts_are_added_and_old_ones_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old = manifest.write_part(store, part(5))
    commit_index(store, DIMENSION, "clip-1")
    manifest.write_part(store, part(5, seed=1, first=5))
    read, plain = [], manifest.read_table
    monkeypatch.setattr(manifest, "read_table", lambda s, name, c: (read.append(name), plain(s, name, c))[1])
    meta = commit_index(store, DIMENSION, "clip-1")
    assert meta is not None
    assert meta.rows == 10
    assert old not in read
    assert sorted(load_index(store)[0].ids.to_pylist()) == [f"{i:032x}" for i in range(10)]


def test_a_part_that_is_gone_leaves_the_index(store: Store) -> None:
    old = manifest.write_part(store, part(5))
    manifest.write_part(store, part(5, seed=1, first=5))
    commit_index(store, DIMENSION, "clip-1")
    store.delete([old])
    commit_index(store, DIMENSION, "clip-1")
    assert load_index(store)[0].ids.to_pylist() == [f"{i:032x}" for i in range(5, 10)]


def test_another_embedder_makes_another_generation(store: Store) -> None:
    manifest.write_part(store, part(5))
    first, second = (commit_index(store, DIMENSION, revision) for revision in ("clip-1", "clip-2"))
    assert first is not None
    assert second is not None
    assert first.generation != second.generation
    assert current_index(store) == second


def test_only_the_previous_generation_is_kept(store: Store) -> None:
    generations = []
    for number in range(4):
        manifest.write_part(store, part(5, seed=number, first=5 * number))
        meta = commit_index(store, DIMENSION, "clip-1")
        assert meta is not None
        generations.append(meta.generation)
    folders = {name.split("/")[1] for name, _ in store.walk(layout.INDEX)}
    assert folders == {"current.json", *generations[2:]}


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_commit_killed_anywhere_leaves_the_old_index_and_the_next_one_mends(
    store: Store, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    manifest.write_part(store, part(5))
    before = commit_index(store, DIMENSION, "clip-1")
    manifest.write_part(store, part(5, seed=1, first=5))
    left, plain = [writes], store.write

    def write_until_killed(name: str, data: bytes) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        plain(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", write_until_killed)
        with pytest.raises(KeyboardInterrupt):
            commit_index(store, DIMENSION, "clip-1")
    assert current_index(store) == before
    assert load_index(store)[0].rows == 5
    after = commit_index(store, DIMENSION, "clip-1")
    assert after is not None
    assert after.rows == load_index(store)[0].rows == 10


def test_an_extended_generation_equals_one_built_at_once(store: Store, tmp_path: Path) -> None:
    for number in range(2):
        manifest.write_part(store, part(5, seed=number, first=5 * number))
        step = commit_index(store, DIMENSION, "clip-1")
    at_once = Store(Location(str(tmp_path / "other")))
    for number in range(2):
        manifest.write_part(at_once, part(5, seed=number, first=5 * number))
    whole = commit_index(at_once, DIMENSION, "clip-1")
    assert step is not None
    assert whole is not None
    assert step.generation == whole.generation
    assert set(load_index(store)[0].ids.to_pylist()) == set(load_index(at_once)[0].ids.to_pylist())


def test_a_damaged_file_is_named_and_never_loaded(store: Store) -> None:
    manifest.write_part(store, part(5))
    meta = commit_index(store, DIMENSION, "clip-1")
    assert meta is not None
    name = f"index/{meta.generation}/index.faiss"
    store.write(name, store.read(name)[:-1] + b"x")
    with pytest.raises(InvalidCollection, match=r"index\.faiss has SHA-256 .* was written; delete"):
        load_index(store)


def test_a_damaged_index_is_built_anew(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    manifest.write_part(store, part(5))
    meta = commit_index(store, DIMENSION, "clip-1")
    assert meta is not None
    store.delete([f"index/{meta.generation}/ids.parquet"])
    manifest.write_part(store, part(5, seed=1, first=5))
    commit_index(store, DIMENSION, "clip-1")
    assert load_index(store)[0].rows == 10
    assert "ids.parquet is missing" in caplog.text


def test_ids_that_do_not_match_the_vectors_are_refused() -> None:
    index = build_index([part(5)], DIMENSION)
    with pytest.raises(InvalidCollection, match="5 vectors but 4 ids"):
        Index.from_bytes(index.to_bytes(), index.ids.slice(0, 4), index.recipe, index.tuning)


def test_a_collection_without_index_says_so(store: Store) -> None:
    assert commit_index(store, DIMENSION, "clip-1") is None
    with pytest.raises(InvalidCollection, match="has no index yet"):
        load_index(store)


def test_parts_without_embeddings_are_named(store: Store) -> None:
    manifest.write_part(store, part(5).select(["image_id"]))
    with pytest.raises(InvalidCollection, match=r"part-.*has no embeddings"):
        commit_index(store, DIMENSION, "clip-1")


def test_an_index_of_another_format_is_refused(store: Store) -> None:
    manifest.write_part(store, part(5))
    meta = commit_index(store, DIMENSION, "clip-1")
    assert meta is not None
    name = f"index/{meta.generation}/meta.json"
    store.write(name, json.dumps(json.loads(store.read(name)) | {"format": 2}).encode())
    with pytest.raises(InvalidCollection, match="another version"):
        current_index(store)


def test_lists_that_were_outgrown_are_trained_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pressrun.index.generations.index_recipe", lambda rows, dimension: LISTS)
    monkeypatch.setattr("pressrun.index.vectors.index_recipe", lambda rows, dimension: LISTS)
    measured = []
    for number, rows in enumerate((3000, 1000, 3000)):
        manifest.write_part(store, part(rows, seed=number, first=10_000 * number))
        meta = commit_index(store, DIMENSION, "clip-1")
        assert meta is not None
        measured.append((meta.rows, meta.tuning.rows))
    assert measured == [(3000, 3000), (4000, 3000), (7000, 7000)]
