"""Reads exports back as strangers do: by the standard library and plain Arrow, without Pressrun."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pressrun import manifest
from pressrun.export.options import Format
from pressrun.picture_place import read_picture
from pressrun.storage import Store

Sample = tuple[dict[str, Any], bytes]


def members(data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return a tar's files, read as a stream that cannot go back."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as shard:
        for member in shard:
            file = shard.extractfile(member)
            assert file is not None
            found.append((member, file.read()))
    return found


def webdataset(store: Store) -> list[Sample]:
    """Group neighbours by the name up to its first dot, as WebDataset does."""
    samples: list[dict[str, bytes]] = []
    for name in store.names("", ".tar"):
        key = None
        for member, data in members(store.read(name)):
            stem, _, ending = member.name.partition(".")
            if stem != key:
                key = stem
                samples.append({})
            assert ending not in samples[-1]
            samples[-1][ending] = data
    assert all(set(sample) == {"png", "json"} for sample in samples)
    return [(typed(json.loads(sample["json"])), sample["png"]) for sample in samples]


def imagefolder(store: Store) -> list[Sample]:
    lines = [json.loads(line) for line in store.read("metadata.jsonl").removesuffix(b"\n").split(b"\n")]
    named = [line.pop("file_name") for line in lines]
    assert sorted(named) == sorted(name for name, _ in store.walk("images"))
    return [(typed(line), store.read(name)) for line, name in zip(lines, named, strict=True)]


def parquet(store: Store) -> list[Sample]:
    samples = []
    for row in parquet_rows(store).to_pylist():
        image = row.pop("image")
        assert image["path"] == f"{row['image_id']}.png"
        samples.append((row, image["bytes"]))
    return samples


def parquet_rows(store: Store) -> pa.Table:
    return pa.concat_tables(pq.read_table(io.BytesIO(store.read(name))) for name in store.names("", ".parquet"))


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """Give a JSON row the one type that JSON lacks."""
    return row | {"created_at": datetime.fromisoformat(row["created_at"])}


READERS = {Format.webdataset: webdataset, Format.imagefolder: imagefolder, Format.parquet: parquet}


def samples_of(store: Store, embeddings: bool = False) -> list[Sample]:
    """Return what an export must hold: the manifest's rows by id, and their pictures."""
    rows = manifest.read_rows(store).sort_by("image_id")
    if not embeddings and "embedding" in rows.column_names:
        rows = rows.drop_columns(["embedding"])
    return [(row, read_picture(store, row["path"])) for row in rows.to_pylist()]
