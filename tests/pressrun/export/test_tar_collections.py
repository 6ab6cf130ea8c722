"""Exports of collections whose pictures are in tars."""

from __future__ import annotations

from pathlib import Path

import pytest

from pressrun import manifest
from pressrun.errors import ExportFailed, InvalidExport
from pressrun.export.export import export_collection
from pressrun.export.options import ExportOptions, Format
from pressrun.export.pictures import read_picture
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.export.reading import READERS, samples_of
from tests.pressrun.small_collection import make_tar_collection, png, put_tar, stars


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "out")))
    make_tar_collection(store)
    return store


@pytest.fixture
def destination(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "there")))


@pytest.mark.parametrize("format", list(READERS), ids=str)
def test_every_format_takes_pictures_out_of_tars(source: Store, destination: Store, format: Format) -> None:
    export_collection(source, destination, ExportOptions(format))
    assert READERS[format](destination) == samples_of(source)


def test_a_picture_that_a_run_moves_meanwhile_is_followed(source: Store) -> None:
    rows = put_tar(source, stars(2, first=100))
    manifest.write_receipt(source, "batch", rows)
    manifest.compact(source, [("batch", rows)])
    assert [read_picture(source, row) for row in rows.to_pylist()] == [png(0), png(1)]


def test_a_picture_that_is_nowhere_stops_it_by_name(source: Store) -> None:
    (row, *_) = manifest.read_rows(source).to_pylist()
    source.delete(source.names("shards"))
    with pytest.raises(ExportFailed, match=rf"shards/\w+-00000\.tar#\d+\+\d+/{row['image_id']}\.png is missing"):
        read_picture(source, row)


def test_an_export_begun_before_pictures_moved_is_not_gone_on_with(source: Store, destination: Store) -> None:
    rows = put_tar(source, stars(2, first=100))
    manifest.write_receipt(source, "batch", rows)
    export_collection(source, destination, ExportOptions(Format.parquet))
    manifest.compact(source, [("batch", rows)])
    with pytest.raises(InvalidExport, match="of other rows"):
        export_collection(source, destination, ExportOptions(Format.parquet))
