from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection
from pressrun.location import Location
from pressrun.replay.sample import choose_ids, draw_sample
from pressrun.storage import Store
from tests.pressrun.small_collection import ids, make_collection, put_images, stars

IDS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=30)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "out")))


@settings(max_examples=60, deadline=None)
@given(st.lists(IDS, max_size=5), st.integers(1, 10), st.integers(0, 2**64 - 1))
def test_a_sample_depends_on_the_ids_and_the_seed_not_on_the_files_they_stand_in(
    files: list[list[str]], count: int, seed: int
) -> None:
    everything = {image_id for file in files for image_id in file}
    chosen = choose_ids([(str(number), file) for number, file in enumerate(files)], count, seed)
    assert list(chosen) == list(choose_ids([("one", sorted(everything))], count, seed))
    assert len(chosen) == min(count, len(everything))
    assert all(image_id in files[int(name)] for image_id, name in chosen.items())


def test_every_picture_has_the_same_chance() -> None:
    names = [f"picture {number}" for number in range(20)]
    counts = Counter(image_id for seed in range(2000) for image_id in choose_ids([("part", names)], 5, seed))
    assert set(counts) == set(names)
    assert min(counts.values()) > 400  # of 500 expected; five deviations below
    assert max(counts.values()) < 600


def test_a_sample_brings_the_rows_it_stands_among_and_no_embeddings(store: Store) -> None:
    make_collection(store, 20)
    sample = draw_sample(store, 3, seed=1)
    assert sample.rows.num_rows == 3
    assert set(ids(sample.rows)) < set(ids(sample.neighbours))
    assert "embedding" not in sample.neighbours.column_names
    assert ids(draw_sample(store, 3, seed=1).rows) == ids(sample.rows)
    assert {*ids(draw_sample(store, 3, seed=2).rows)} != {*ids(sample.rows)}


def test_rows_that_are_in_a_receipt_and_a_part_count_once_and_rows_of_receipts_count(store: Store) -> None:
    join_collection(store, Identity("", 0))
    rows = put_images(store, stars(6), 0)
    manifest.write_part(store, rows.slice(0, 4))
    manifest.write_receipt(store, "batch", rows.slice(2, 4))
    sample = draw_sample(store, 50, seed=1)
    assert sorted(ids(sample.rows)) == sorted(ids(rows))
    assert sorted(ids(sample.neighbours)) == sorted(ids(rows))


def test_a_collection_without_pictures_has_no_sample(store: Store) -> None:
    join_collection(store, Identity("", 0))
    with pytest.raises(InvalidCollection, match="no pictures"):
        draw_sample(store, 20, seed=1)


def test_a_damaged_part_is_named(store: Store) -> None:
    make_collection(store)
    store.write(layout.part("torn"), b"PAR1")
    with pytest.raises(InvalidCollection, match="part-torn"):
        draw_sample(store, 20, seed=1)
