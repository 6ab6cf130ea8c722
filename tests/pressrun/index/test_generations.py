from __future__ import annotations

import json
from pathlib import Path

import pytest

from pressrun import layout, manifest
from pressrun.errors import InvalidCollection
from pressrun.index.generations import commit_index, current_index, load_index
from pressrun.index.vectors import build_index
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.index.small_vectors import DIMENSION, LISTS, matrix, nearest_ids, part, vectors


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path) if request.param == "file" else f"memory://{tmp_path}"))


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
    with pytest.raises(
        InvalidCollection, match=r"index\.faiss has SHA-256 .* was written; `pressrun verify --repair` builds it anew"
    ):
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


def test_a_collection_without_index_says_so(store: Store) -> None:
    assert commit_index(store, DIMENSION, "clip-1") is None
    with pytest.raises(InvalidCollection, match="has no index yet"):
        load_index(store)


def test_parts_without_embeddings_are_named(store: Store) -> None:
    manifest.write_part(store, part(5).select(["image_id", "path"]))
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
