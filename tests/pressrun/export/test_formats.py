"""What each format promises its readers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
import pytest

from pressrun import manifest
from pressrun.collection import Identity, join_collection
from pressrun.export.export import export_collection
from pressrun.export.options import ExportOptions, Format
from pressrun.location import Location
from pressrun.progress import News, listening
from pressrun.storage import Store
from tests.pressrun.export.reading import members
from tests.pressrun.small_collection import DIMENSION, ids, make_collection, put_images, stars


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "out")))


@pytest.fixture
def destination(tmp_path: Path) -> Store:
    return Store(Location(str(tmp_path / "export")))


def make_large(store: Store, count: int, size_bytes: int) -> pa.Table:
    """Write a collection of large files that are no pictures, without embeddings."""
    join_collection(store, Identity("", 0))
    rows = put_images(store, stars(count), 0)
    digests = []
    for path in rows.column("path").to_pylist():
        data = os.urandom(size_bytes)
        store.write(path, data)
        digests.append(hashlib.sha256(data).hexdigest())
    for name, values in {"sha256": digests, "size_bytes": [size_bytes] * count}.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
    manifest.write_part(store, rows)
    return rows


# WebDataset


def test_a_shard_holds_pairs_by_id_and_nothing_of_this_host(source: Store, destination: Store) -> None:
    rows = make_collection(source)
    export_collection(source, destination, ExportOptions(Format.webdataset, shard_images=4))
    assert destination.names("", ".tar") == ["shard-000000.tar", "shard-000001.tar"]
    found = [member for name in destination.names("", ".tar") for member, _ in members(destination.read(name))]
    wanted = [f"{image_id}.{ending}" for image_id in sorted(ids(rows)) for ending in ("png", "json")]
    assert [member.name for member in found] == wanted
    traits = {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode, one.isreg()) for one in found}
    assert traits == {(0, 0, 0, "", "", 0o644, True)}


def test_shards_are_cut_by_size_too(source: Store, destination: Store) -> None:
    make_large(source, count=7, size_bytes=1000)
    export_collection(source, destination, ExportOptions(Format.webdataset, shard_bytes=2500))
    counts = [len(members(destination.read(name))) // 2 for name in destination.names("", ".tar")]
    assert counts == [2, 2, 2, 1]


@pytest.mark.parametrize("format", [Format.webdataset, Format.imagefolder])
def test_memory_holds_a_few_pictures_and_never_a_shard(source: Store, destination: Store, format: Format) -> None:
    make_large(source, count=200, size_bytes=250_000)  # 50 MB
    tracemalloc.start()
    try:
        export_collection(source, destination, ExportOptions(format))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 15e6


# Image folder


def test_metadata_has_one_type_a_column_for_readers_that_guess(source: Store, destination: Store) -> None:
    make_collection(source)
    export_collection(source, destination, ExportOptions(Format.imagefolder))
    table = pj.read_json(io.BytesIO(destination.read("metadata.jsonl")))
    assert table.num_rows == 6
    assert table.column_names[0] == "file_name"
    assert table.schema.field("extra").type == pa.string()
    assert table.schema.field("seed").type == pa.int64()


# Parquet


def parquet_file(store: Store, name: str = "part-000000.parquet") -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(store.read(name)))


def test_the_image_column_is_what_datasets_shows_as_a_picture(source: Store, destination: Store) -> None:
    make_collection(source)
    export_collection(source, destination, ExportOptions(Format.parquet, embeddings=True))
    schema = parquet_file(destination).schema_arrow
    features: dict[str, Any] = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["guidance_scale"] == {"dtype": "float64", "_type": "Value"}
    assert features["created_at"] == {"dtype": "timestamp[us, tz=UTC]", "_type": "Value"}
    half = {"dtype": "float16", "_type": "Value"}
    assert features["embedding"] == {"feature": half, "length": DIMENSION, "_type": "Sequence"}


def test_row_groups_are_small_so_that_one_picture_is_cheap_to_read(source: Store, destination: Store) -> None:
    make_large(source, count=230, size_bytes=100)
    export_collection(source, destination, ExportOptions(Format.parquet))
    file = parquet_file(destination)
    assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [100, 100, 30]
    columns = {file.metadata.row_group(0).column(at).path_in_schema: at for at in range(file.metadata.num_columns)}
    packed = {name: file.metadata.row_group(0).column(at).compression for name, at in columns.items()}
    assert packed.pop("image.bytes") == "UNCOMPRESSED"
    assert set(packed.values()) == {"ZSTD"}


# Progress


@pytest.mark.parametrize("format", list(Format), ids=str)
def test_progress_counts_to_the_end_with_or_without_held_files(
    source: Store, destination: Store, format: Format
) -> None:
    make_collection(source)
    for _ in range(2):
        heard: list[News] = []
        with listening(heard.append):
            export_collection(source, destination, ExportOptions(format))
        assert (heard[-1].done, heard[-1].total) == (6, 6)
