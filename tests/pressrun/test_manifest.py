from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pressrun import layout, manifest
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.small_collection import (
    DyingStore,
    Killed,
    held_ids,
    ids,
    make_requests,
    put_images,
    snapshot,
    stars,
)
from tests.s3_server import S3Server


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return Location(str(tmp_path / "_odd .name"))
    server: S3Server = request.getfixturevalue("s3_server")
    return Location(server.make_bucket(), server.storage_options)


@pytest.fixture
def store(location: Location) -> Store:
    return Store(location)


def committed(store: Store, count: int) -> pa.Table:
    """Commit some images: half of them in a part, the others in receipts, and one in both."""
    rows = put_images(store, stars(count))
    half = count // 2
    manifest.write_part(store, rows.slice(0, half))
    for number in range(half - 1, count):
        manifest.write_receipt(store, f"batch-{number}", rows.slice(number, 1))
    return rows


def test_every_committed_image_is_read_once(store: Store) -> None:
    rows = committed(store, 6)
    assert Counter(ids(manifest.read_rows(store))) == Counter(ids(rows))
    assert set(held_ids(store)) == set(ids(rows))
    found = manifest.read_rows(store).sort_by("row")
    assert found.equals(rows.sort_by("row"))


def test_columns_come_as_they_were_asked_for(store: Store) -> None:
    rows = committed(store, 4)
    found = manifest.read_rows(store, ["path", "prompt"])
    assert found.column_names == ["path", "prompt"]
    assert sorted(found.column("path").to_pylist()) == sorted(rows.column("path").to_pylist())


def test_an_empty_collection_holds_nothing(store: Store) -> None:
    assert held_ids(store) == []
    assert manifest.read_rows(store).num_rows == manifest.find_rows(store, ["x"], ["prompt"]).num_rows == 0
    assert manifest.compact_leftovers(store) == 0


def test_rows_are_found_by_id_wherever_they_stand(store: Store) -> None:
    rows = committed(store, 6)
    wanted = [ids(rows)[at] for at in (5, 2, 0)]
    found = manifest.find_rows(store, [*wanted, "0" * 32], ["prompt", "image_id"])
    assert found.column_names == ["prompt", "image_id"]
    assert Counter(ids(found)) == Counter(wanted)
    assert manifest.find_rows(store, [], ["prompt"]).num_rows == 0


def test_compacting_leaves_parts_only_and_each_image_once(store: Store) -> None:
    rows = committed(store, 6)
    assert manifest.compact_leftovers(store) == 3
    assert manifest.receipt_names(store) == []
    parts = [manifest.read_table(store, name) for name in manifest.part_names(store)]
    assert Counter(image_id for part in parts for image_id in ids(part)) == Counter(ids(rows))


def test_compacting_again_changes_nothing(store: Store) -> None:
    committed(store, 6)
    manifest.compact_leftovers(store)
    before = snapshot(store)
    assert manifest.compact_leftovers(store) == 0
    assert snapshot(store) == before


def test_a_receipt_of_images_that_stand_in_a_part_just_goes(store: Store) -> None:
    rows = put_images(store, stars(3))
    manifest.write_part(store, rows)
    before = snapshot(store)
    manifest.write_receipt(store, "again", rows.slice(1))
    assert manifest.compact_leftovers(store) == 0
    assert snapshot(store) == before


def test_images_that_two_receipts_name_come_once(store: Store) -> None:
    rows = put_images(store, stars(3))
    manifest.write_receipt(store, "one", rows.slice(0, 2))
    manifest.write_receipt(store, "two", rows.slice(1, 2))
    assert manifest.compact_leftovers(store) == 3
    (part,) = manifest.part_names(store)
    assert sorted(ids(manifest.read_table(store, part))) == sorted(ids(rows))


def test_compacting_a_shard_moves_its_receipts_into_one_part(store: Store) -> None:
    rows = put_images(store, stars(4))
    receipts = [(f"batch-{start}", rows.slice(start, 2)) for start in (0, 2)]
    for name, table in receipts:
        manifest.write_receipt(store, name, table)
    manifest.write_receipt(store, "another shard's", rows.slice(0, 1))
    manifest.compact(store, receipts)
    assert manifest.receipt_names(store) == [layout.receipt("another shard's")]
    (part,) = manifest.part_names(store)
    assert manifest.read_table(store, part).equals(rows)
    manifest.compact(store, [])
    assert manifest.part_names(store) == [part]


def test_killed_at_any_change_compacting_loses_and_doubles_nothing(tmp_path: Path) -> None:
    killed = 0
    for lives in range(20):
        location = Location(str(tmp_path / str(lives)))
        rows = committed(Store(location), 6)
        try:
            manifest.compact_leftovers(DyingStore(location, lives))
        except Killed:
            killed += 1
        else:
            break
        store = Store(location)
        assert Counter(ids(manifest.read_rows(store))) == Counter(ids(rows))
        manifest.compact_leftovers(store)
        parts = [manifest.read_table(store, name) for name in manifest.part_names(store)]
        assert Counter(image_id for part in parts for image_id in ids(part)) == Counter(ids(rows))
        assert manifest.receipt_names(store) == []
    assert killed == 5  # before the part, and before each of four receipts


def test_a_part_is_named_by_its_images_alone(store: Store) -> None:
    rows = put_images(store, stars(3))
    name = manifest.write_part(store, rows)
    later = rows.set_column(rows.schema.get_field_index("run_id"), "run_id", pa.array(["later"] * 3))
    assert manifest.write_part(store, later.take([2, 0, 1]).cast(rows.schema)) == name
    assert manifest.write_part(store, rows.slice(1)) != name


class CompactedMeanwhile(Store):
    """A store whose writer compacts everything right after a reader has listed a folder."""

    def __init__(self, location: Location, folder: str) -> None:
        super().__init__(location)
        self._folder = folder

    def names(self, folder: str, ending: str = "") -> list[str]:
        listed = super().names(folder, ending)
        if folder == self._folder:
            manifest.compact_leftovers(Store(self.location))
        return listed


@pytest.mark.parametrize("folder", [layout.RECEIPTS, layout.MANIFEST])
def test_a_reader_misses_nothing_while_a_run_compacts(tmp_path: Path, folder: str) -> None:
    for number in range(3):
        location = Location(str(tmp_path / str(number)))
        rows = committed(Store(location), 6)
        reader = CompactedMeanwhile(location, folder)
        found = (
            lambda reader=reader: set(held_ids(reader)),
            lambda reader=reader: set(ids(manifest.read_rows(reader))),
            lambda reader=reader, rows=rows: set(ids(manifest.find_rows(reader, ids(rows), ["image_id"]))),
        )[number]()
        assert found == set(ids(rows))


def test_collections_without_embeddings_have_no_such_column(store: Store) -> None:
    rows = put_images(store, make_requests(["a"]), dimension=0)
    manifest.write_part(store, rows)
    assert "embedding" not in manifest.read_rows(store).column_names
