"""Exports that meet damage, kills and other exports: nothing wrong or half-written is ever seen."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq
import pytest

from pressrun import layout, manifest
from pressrun.errors import CollectionBusy, ExportFailed, InvalidExport
from pressrun.export.destination import MARKER
from pressrun.export.export import export_collection
from pressrun.export.options import ExportOptions, Format
from pressrun.location import Location
from pressrun.storage import TEMPORARY, Store
from pressrun.writer_claim import WriterClaim
from tests.pressrun.export.reading import READERS, samples_of
from tests.pressrun.small_collection import (
    DyingStore,
    Killed,
    claim_of,
    make_collection,
    png,
    put_images,
    snapshot,
    stars,
)

IMAGES = 6
OPTIONS = {
    Format.webdataset: ExportOptions(Format.webdataset, shard_images=2),
    Format.imagefolder: ExportOptions(Format.imagefolder),
    Format.parquet: ExportOptions(Format.parquet, shard_images=2),
}
every_format = pytest.mark.parametrize("format", list(Format), ids=str)


@pytest.fixture
def source(tmp_path: Path) -> Store:
    store = Store(Location(str(tmp_path / "out")))
    make_collection(store, IMAGES)
    return store


@pytest.fixture
def destination(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "export")))


def data_files(store: Store) -> dict[str, bytes]:
    """Return what readers see, each file proven to be whole."""
    found = {name: data for name, data in snapshot(store).items() if not name.startswith((MARKER, TEMPORARY))}
    found.pop(layout.WRITER, None)
    for name, data in found.items():
        if name.endswith(".tar"):
            assert len(tarfile.open(fileobj=io.BytesIO(data)).getnames()) == 4
        elif name.endswith(".parquet"):
            assert pq.read_table(io.BytesIO(data)).num_rows == 2
        elif name.endswith(".png"):
            assert data.endswith(b"IEND\xaeB`\x82")
    return found


def is_complete(store: Store) -> bool:
    return bool(json.loads(store.read(MARKER))["complete"])


def whole(source: Store, format: Format, tmp_path: Path) -> dict[str, bytes]:
    """Return the files of an export that nothing disturbed."""
    store = Store(Location(str(tmp_path / "undisturbed")))
    export_collection(source, store, OPTIONS[format])
    return snapshot(store)


@every_format
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_bad_picture_stops_the_export_by_name_and_what_is_finished_stays(
    source: Store, destination: Store, format: Format, damage: str, tmp_path: Path
) -> None:
    wanted = whole(source, format, tmp_path)
    path = samples_of(source)[3][0]["path"]  # of the second shard
    good = source.read(path)
    source.delete([path]) if damage == "missing" else source.write(path, png(200))
    told = "is missing" if damage == "missing" else "has sha256 .* the manifest says"
    with pytest.raises(ExportFailed, match=f"{path} .*{told}.*verify --repair"):
        export_collection(source, destination, OPTIONS[format])
    seen = data_files(destination)
    assert seen.items() <= wanted.items()
    assert seen
    assert "metadata.jsonl" not in seen
    assert not is_complete(destination)
    source.write(path, good)
    summary = export_collection(source, destination, OPTIONS[format])
    assert summary.files_held == len(seen)
    assert snapshot(destination) == wanted


@every_format
def test_killed_at_any_write_the_same_command_ends_with_the_same_bytes(
    source: Store, format: Format, tmp_path: Path
) -> None:
    wanted = whole(source, format, tmp_path)
    killed = 0
    for lives in range(40):
        location = Location(str(tmp_path / str(lives)))
        store = Store(location)
        try:
            export_collection(source, DyingStore(location, lives), OPTIONS[format])
        except Killed:
            killed += 1
        else:
            break
        assert data_files(store).items() <= wanted.items()
        assert not (store.exists(MARKER) and is_complete(store)) or data_files(store).keys() == wanted.keys() - {MARKER}
        store.write(layout.WRITER, claim_of("export-killed"))
        store.write(f"{TEMPORARY}/half", b"x")
        export_collection(source, store, OPTIONS[format])
        assert snapshot(store) == wanted
        assert not Path(store.path(TEMPORARY)).exists()
    assert killed >= 5


@every_format
def test_a_file_that_was_lost_is_written_again_alone(
    source: Store, destination: Store, format: Format, tmp_path: Path
) -> None:
    export_collection(source, destination, OPTIONS[format])
    wanted = data_files(destination)
    lost = sorted(wanted)[1]
    destination.delete([lost])
    assert export_collection(source, destination, OPTIONS[format]).files_written == 1
    assert data_files(destination) == wanted


# Destinations


@pytest.mark.parametrize("stranger", ["letter.txt", "photos/me.png", "collection.json"])
def test_an_unrelated_destination_is_refused_and_left_alone(source: Store, destination: Store, stranger: str) -> None:
    destination.write(stranger, b"{}")
    with pytest.raises(InvalidExport, match=rf"not an export \(it holds '{stranger.partition('/')[0]}'"):
        export_collection(source, destination, OPTIONS[Format.webdataset])
    assert snapshot(destination) == {stranger: b"{}"}


@pytest.mark.parametrize("place", ["", "/export", "/images/ab"])
def test_a_destination_in_the_collection_is_refused(source: Store, place: str) -> None:
    before = snapshot(source)
    with pytest.raises(InvalidExport, match="lies in the collection"):
        export_collection(source, Store(Location(source.root + place)), OPTIONS[Format.webdataset])
    assert snapshot(source) == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": Format.parquet}, "holds a complete webdataset export of 6 images.*a parquet export of 6"),
        ({"shard_images": 3}, "of other rows or with other options"),
        ({"embeddings": True}, "of other rows or with other options"),
        ({"where": ("prompt=star 1",)}, "of 6 images.*of 1 images"),
    ],
)
def test_another_export_in_the_same_place_is_refused(
    source: Store, destination: Store, changes: dict[str, Any], told: str
) -> None:
    export_collection(source, destination, OPTIONS[Format.webdataset])
    before = snapshot(destination)
    with pytest.raises(InvalidExport, match=told):
        export_collection(
            source, destination, ExportOptions(**{"format": Format.webdataset, "shard_images": 2} | changes)
        )
    assert snapshot(destination) == before


def test_a_collection_that_has_grown_goes_to_a_new_place(source: Store, destination: Store) -> None:
    export_collection(source, destination, OPTIONS[Format.webdataset])
    manifest.write_part(source, put_images(source, stars(2, first=100)))
    with pytest.raises(InvalidExport, match=r"of 6 images.*of 8 images"):
        export_collection(source, destination, OPTIONS[Format.webdataset])


def test_the_same_export_begun_twice_at_once_is_refused_the_second_time(source: Store, destination: Store) -> None:
    claim = WriterClaim(destination, "export-other")
    claim.acquire()
    try:
        with pytest.raises(CollectionBusy, match="export-other"):
            export_collection(source, destination, OPTIONS[Format.webdataset])
        assert set(snapshot(destination)) == {layout.WRITER}
    finally:
        claim.release()


class FullStore(Store):
    """A store on a disk that is full."""

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        with super().writing(name) as file:
            yield file
            raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_is_told_and_the_export_can_go_on(source: Store, destination: Store) -> None:
    with pytest.raises(ExportFailed, match=r"stopped: .*No space left on device.*goes on from there"):
        export_collection(source, FullStore(destination.location), OPTIONS[Format.webdataset])
    assert data_files(destination) == {}
    export_collection(source, destination, OPTIONS[Format.webdataset])
    assert READERS[Format.webdataset](destination) == samples_of(source)
