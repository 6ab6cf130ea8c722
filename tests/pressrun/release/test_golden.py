from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import manifest
from pressrun.batch import BUCKET_FIELDS
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection
from pressrun.location import Location
from pressrun.release import golden
from pressrun.release.golden import golden_batches, is_begun_by, read_golden
from pressrun.storage import Store
from tests.pressrun.small_collection import REVISION, make_requests, put_images


def rows_of(sizes: list[int], **fields: list[object]) -> pa.Table:
    requests = make_requests([f"star {number}" for number in range(len(sizes))], **fields)
    return requests.append_column("batch_size", pa.array(sizes, pa.int32()))


def collection(folder: Path, requests: pa.Table) -> Store:
    store = Store(Location(str(folder / "out")))
    join_collection(store, Identity("", 0))
    manifest.write_part(store, put_images(store, requests, 0))
    return store


def test_every_picture_is_in_one_batch_of_its_own_bucket_and_size() -> None:
    count = 40
    kinds = itertools.cycle([(8, 2), (8, 3), (16, 2)])
    chosen = [next(kinds) for _ in range(count)]
    rows = rows_of(
        [3 if number % 2 else 1 for number in range(count)],
        width_px=[width for width, _ in chosen],
        steps=[steps for _, steps in chosen],
    )
    batches = list(golden_batches(rows))
    for one in batches:
        assert one.batch.requests.column("image_id").equals(one.rows.column("image_id"))
        assert len(one.batch) <= one.batch.size
        assert set(one.rows.column("batch_size").to_pylist()) == {one.batch.size}
        assert all(len(set(one.batch.column(name))) == 1 for name in BUCKET_FIELDS)
    drawn = [image_id for one in batches for image_id in one.batch.column("image_id")]
    assert sorted(drawn) == sorted(rows.column("image_id").to_pylist())


def test_a_place_without_a_collection_is_an_empty_set_that_any_release_may_begin(tmp_path: Path) -> None:
    store = Store(Location(str(tmp_path / "none")))
    rows = read_golden(store)
    assert rows.num_rows == 0
    assert is_begun_by(store, rows, REVISION)
    assert not (tmp_path / "none").exists()


def test_a_set_is_completed_by_the_revision_that_began_it_alone(tmp_path: Path) -> None:
    store = collection(tmp_path, make_requests(["a", "b"]))
    rows = read_golden(store)
    assert rows.num_rows == 2
    assert is_begun_by(store, rows, REVISION)
    assert not is_begun_by(store, rows, "another")


def test_a_set_with_adapters_and_one_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = collection(tmp_path, make_requests(["a", "b"], adapters=["", "ink:0.5"]))
    with pytest.raises(InvalidCollection, match=r"1 of 2 pictures .* use adapters \(the first is 'b'\)"):
        read_golden(store)
    monkeypatch.setattr(golden, "_MOST_PICTURES", 1)
    with pytest.raises(InvalidCollection, match="2 pictures, at most 1 "):
        read_golden(store)
