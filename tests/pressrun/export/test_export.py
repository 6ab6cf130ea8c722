"""One contract for every format: what goes out is the manifest, whole, the same bytes each time."""

from __future__ import annotations

import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pressrun import layout, manifest
from pressrun.collection import Identity, join_collection
from pressrun.errors import InvalidCollection, InvalidExport, InvalidQuery
from pressrun.export import selection
from pressrun.export.export import ExportSummary, export_collection
from pressrun.export.options import ExportOptions, Format
from pressrun.export.sorted_rows import SortedRows
from pressrun.location import Location
from pressrun.storage import Store
from tests.pressrun.export.reading import READERS, parquet_rows, samples_of
from tests.pressrun.small_collection import (
    DIMENSION,
    EMBEDDER,
    ids,
    make_collection,
    make_requests,
    png,
    put_images,
    snapshot,
    stars,
)
from tests.s3_server import S3Server

every_format = pytest.mark.parametrize("format", list(Format), ids=str)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def memory() -> Store:
    return Store(Location(f"memory://{uuid.uuid4().hex}"))


@pytest.fixture(params=["folder", "memory", "bucket"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    """Give a store for a collection and one for its export."""
    if request.param == "memory":
        return memory(), memory()
    if request.param == "folder":
        return Store(Location(str(tmp_path / "out"))), Store(Location(str(tmp_path / "to" / "export")))
    server: S3Server = request.getfixturevalue("s3_server")
    url = server.make_bucket()
    options = {name: value for name, value in server.storage_options.items() if name != "use_listings_cache"}
    return Store(Location(f"{url}/out", options)), Store(Location(f"{url}/export", options))


def export(source: Store, format: Format, **options: Any) -> tuple[Store, ExportSummary]:
    """Export into a new place."""
    if format is Format.imagefolder:
        options = {name: value for name, value in options.items() if not name.startswith("shard")}
    destination = memory()
    return destination, export_collection(source, destination, ExportOptions(format, **options))


@st.composite
def collections(draw: st.DrawFn) -> Store:
    """Draw a collection of any rows, cut into any parts and receipts, some rows in two of them."""
    count = draw(st.integers(1, 12))
    fields: dict[str, st.SearchStrategy[Any]] = {
        "negative_prompt": TEXT,
        "user_id": st.none() | TEXT,
        "extra": st.sampled_from(["{}", '{"campaign": "summer", "n": 1.50}', '{"ключ": [null, "\\u0000"]}']),
        "seed": st.integers(0, 2**63 - 1),
        "guidance_scale": st.floats(0, 100),
    }
    drawn = {name: draw(st.lists(values, min_size=count, max_size=count)) for name, values in fields.items()}
    requests = make_requests([f"{draw(TEXT)} {number}" for number in range(count)], **drawn)
    store, dimension = memory(), draw(st.sampled_from([0, DIMENSION]))
    join_collection(store, Identity(EMBEDDER if dimension else "", dimension))
    rows = put_images(store, requests, dimension)
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=3)))
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, count], strict=True)):
        if start < stop:
            as_receipt = draw(st.booleans())
            piece = rows.slice(max(0, start - draw(st.integers(0, 1))), stop - start + 1)
            manifest.write_receipt(store, f"b{number}", piece) if as_receipt else manifest.write_part(store, piece)
    store.write(layout.image("0" * 32), b"an orphan")
    return store


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=collections(),
    format=st.sampled_from(Format),
    limits=st.fixed_dictionaries({}, optional={"shard_images": st.integers(1, 5), "shard_bytes": st.integers(1, 400)}),
)
def test_what_is_read_back_is_exactly_the_manifest(source: Store, format: Format, limits: dict[str, int]) -> None:
    before = snapshot(source)
    embeddings = "embedding" in manifest.read_rows(source).column_names
    destination, summary = export(source, format, embeddings=embeddings, **limits)
    wanted = samples_of(source, embeddings)
    assert READERS[format](destination) == wanted
    assert (summary.images, summary.picture_bytes) == (len(wanted), sum(len(data) for _, data in wanted))
    assert snapshot(source) == before


@every_format
def test_every_place_can_be_read_and_written(places: tuple[Store, Store], format: Format) -> None:
    source, destination = places
    make_collection(source)
    summary = export_collection(source, destination, ExportOptions(format, embeddings=True))
    assert READERS[format](destination) == samples_of(source, embeddings=True)
    assert summary.destination == str(destination.location)
    again = export_collection(source, destination, ExportOptions(format, embeddings=True))
    assert (again.files_written, again.files_held) == (0, summary.files_written)


@every_format
def test_the_bytes_do_not_depend_on_parts_place_or_memory(
    format: Format, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, other = memory(), Store(Location(str(tmp_path / "other")))
    for store in (one, other):
        join_collection(store, Identity(EMBEDDER, DIMENSION))
    rows = put_images(one, stars(20))
    put_images(other, stars(20))
    manifest.write_part(one, rows)
    wanted = snapshot(export(one, format, shard_images=7)[0])
    for start in range(0, 20, 5):
        piece = rows.slice(start, 5).take([4, 2, 0, 1, 3])
        manifest.write_receipt(other, f"{start}", piece) if start == 10 else manifest.write_part(other, piece)
    monkeypatch.setattr(selection, "SortedRows", partial(SortedRows, most_bytes=1))
    there = Store(Location(str(tmp_path / "there")))
    options = ExportOptions(format, shard_images=None if format is Format.imagefolder else 7)
    export_collection(other, there, options)
    assert snapshot(there) == wanted


def test_a_run_that_goes_on_writing_does_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    source = memory()
    make_collection(source)
    wanted = samples_of(source)
    late = put_images(source, stars(3, first=100))
    summed_up = selection._summed_up

    def meanwhile(*arguments: Any) -> selection.Selection:
        manifest.write_part(source, late)
        return summed_up(*arguments)

    monkeypatch.setattr(selection, "_summed_up", meanwhile)
    destination, _ = export(source, Format.webdataset)
    assert READERS[Format.webdataset](destination) == wanted


def test_conditions_choose_as_in_search() -> None:
    source = memory()
    join_collection(source, Identity("", 0))
    extra = ['{"campaign": "summer"}', '{"campaign": "winter"}', "{}"] * 3
    rows = put_images(source, make_requests([f"star {n}" for n in range(9)], seed=list(range(9)), extra=extra), 0)
    manifest.write_part(source, rows)
    destination, summary = export(source, Format.parquet, where=("extra.campaign=summer", "seed>0"))
    assert sorted(parquet_rows(destination).column("seed").to_pylist()) == [3, 6]
    assert summary.images == 2


def test_pictures_and_embeddings_are_left_out_when_they_are_not_wanted() -> None:
    source = memory()
    rows = make_collection(source)
    source.delete(rows.column("path").to_pylist())  # rows alone need no picture
    destination, summary = export(source, Format.parquet, pictures=False)
    assert parquet_rows(destination) == rows.drop_columns(["embedding"]).sort_by("image_id")
    assert summary.picture_bytes == 0
    destination, _ = export(source, Format.parquet, pictures=False, embeddings=True)
    assert parquet_rows(destination) == rows.sort_by("image_id")


# Refusals


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": Format.webdataset, "pictures": False}, "webdataset is made of pictures"),
        ({"format": Format.imagefolder, "pictures": False}, "imagefolder is made of pictures"),
        ({"format": Format.imagefolder, "shard_images": 10}, "has no shards"),
        ({"format": Format.webdataset, "shard_images": 0}, "A shard of 0 images"),
        ({"format": Format.parquet, "shard_bytes": -1}, "A shard of -1 bytes"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidExport, match=told):
        ExportOptions(**options)


@pytest.mark.parametrize(
    ("dimension", "options", "error", "told"),
    [
        (DIMENSION, {"where": ("seed>5", "prompt~ring")}, InvalidExport, "no image fulfils seed>5 and prompt~ring"),
        (DIMENSION, {"where": ("sede>5",)}, InvalidQuery, "did you mean seed"),
        (0, {"embeddings": True}, InvalidExport, "no embeddings to export"),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_anything_is_written(
    dimension: int, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    source, destination = memory(), memory()
    make_collection(source, dimension=dimension)
    with pytest.raises(error, match=told):
        export_collection(source, destination, ExportOptions(Format.webdataset, **options))
    assert snapshot(destination) == {}


def test_where_nothing_is_there_is_nothing_to_export(tmp_path: Path) -> None:
    source, destination = memory(), Store(Location(str(tmp_path / "to")))
    with pytest.raises(InvalidCollection, match="holds no collection"):
        export_collection(source, destination, ExportOptions(Format.parquet))
    join_collection(source, Identity("", 0))
    with pytest.raises(InvalidExport, match="no image is in it yet"):
        export_collection(source, destination, ExportOptions(Format.parquet))
    assert not (tmp_path / "to").exists()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    source = memory()
    make_collection(source)
    name = manifest.part_names(source)[0]
    source.write(name, source.read(name)[:-20])
    with pytest.raises(InvalidCollection, match=f"{name} .* is damaged"):
        export(source, Format.parquet)


def test_the_picture_goes_out_as_it_is_stored_whatever_its_ending() -> None:
    source = memory()
    join_collection(source, Identity("", 0))
    rows = put_images(source, stars(1), 0)
    (image_id,) = ids(rows)
    source.write(f"images/{image_id[:2]}/{image_id}.webp", png(0))
    at = rows.column_names.index("path")
    path = pa.array([f"images/{image_id[:2]}/{image_id}.webp"])
    manifest.write_part(source, rows.set_column(at, rows.schema.field(at), path))
    destination, _ = export(source, Format.imagefolder)
    assert destination.names(f"images/{image_id[:2]}") == [f"images/{image_id[:2]}/{image_id}.webp"]
